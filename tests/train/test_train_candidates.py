"""The labels-only model: a head on the pretrained encoder, or a tuned encoder if it is better and time allows."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import kit
import numpy as np
import pytest
import torch
from train_kit import THREE

from tlnlp.config import FinetuneSettings, load_settings
from tlnlp.data.labels import LabelContract, read_labels
from tlnlp.data.pool import Pool
from tlnlp.model.torch_encoder import load_encoder
from tlnlp.runs.cost import Budget
from tlnlp.runs.ledger import Ledger
from tlnlp.storage import Storage
from tlnlp.train import candidates, co_training, cross_validation
from tlnlp.train.candidates import Candidate, best_candidate
from tlnlp.train.co_training import CoTraining
from tlnlp.train.context import Run
from tlnlp.train.cross_validation import CURVE_DRAWS, CrossValidation, fold_count, learning_curve
from tlnlp.train.dataset import Examples, Reader
from tlnlp.train.distributed.ray_executor import RayExecutor
from tlnlp.train.fit.linear_head import LinearHead
from tlnlp.train.frozen_encoder import PretrainedEmbeddings, ProbeRecipe, embed_labels, fit_probe
from tlnlp.train.held_out_calibration import HeldOutCalibration
from tlnlp.train.local_executor import LocalExecutor
from tlnlp.train.pseudo_label_calibration import PseudoLabelCalibration
from tlnlp.train.time_budget import TimeBudget
from tlnlp.train.tuned_constants import TUNED

Rows = list[dict[str, Any]]


def hidden(count: int = 60) -> Rows:
    """Return texts whose class depends on the order of two words, which an encoder must be tuned to see."""
    return [
        {
            "text": ("good bad ", "bad good ")[i % 2] + " ".join(kit.texts(1, i // 2)[0].split()[:2]) + f" {i // 2}",
            "label": THREE[i % 2],
        }
        for i in range(count)
    ]


def plain(count: int = 60) -> Rows:
    """Return texts whose words differ by class, so that any pretrained encoder separates the classes."""
    marks = ("cold ferry", "warm bread", "good night")
    return [{"text": f"{marks[i % 3]} " * 4 + f"n{i}", "label": THREE[i % 3]} for i in range(count)]


@pytest.fixture
def made(tiny_encoder: Path, tmp_path: Path) -> Callable[..., tuple[Run, PretrainedEmbeddings]]:
    def make(rows: Rows, *more: str) -> tuple[Run, PretrainedEmbeddings]:
        labels = kit.write_jsonl(tmp_path / "labels.jsonl", rows)
        given = [
            f"labels={labels}", f"encoder={tiny_encoder}", "max_length=32", "time_budget_s=6000",
            "training.batch_size=8", "training.min_steps=150", "training.max_steps=150", "training.max_passes=100",
            "training.learning_rate=5e-3",
        ]  # fmt: skip
        settings = load_settings(FinetuneSettings, None, [*given, *more])
        (tmp_path / "reader").mkdir(exist_ok=True)
        examples = Examples.make(read_labels(str(labels), LabelContract()), Reader.make(settings, tmp_path / "reader"))
        time_budget = TimeBudget(settings.time_budget_s, time.monotonic())
        ledger = Ledger("finetune", "test", settings.model_dump(mode="json"))
        storage = Storage(str(tmp_path / "artifacts"))
        run = Run(settings, examples, storage, "run", ledger, Budget(settings.cost), time_budget, LocalExecutor())
        frozen = embed_labels(run)
        time_budget.record_reading_throughput(frozen.tokens_per_s)
        return run, frozen

    return make


Made = Callable[..., tuple[Run, PretrainedEmbeddings]]


def check_as_pretrained(run: Run, frozen: PretrainedEmbeddings, candidate: Candidate) -> None:
    """Assert that a candidate is the pretrained encoder with the head that cross-validation prefers."""
    assert candidate.cross_validation is not None
    validation = candidate.cross_validation
    assert (validation.tuned, candidate.fit.steps, validation.fits) == (False, 0, [])
    source = run.examples.reader.encoder
    before = load_encoder(
        source.name, len(run.examples.classes), source.conventions.pooling, 0.0, seed=0, normalise=False
    ).state_dict()
    tensors = candidate.fit.weights
    assert all(torch.equal(tensors[name], before[name]) for name in before if not name.startswith("head."))
    wanted, head = fit_probe(frozen, run.examples, validation.recipe or ProbeRecipe()), LinearHead.of(tensors)
    assert wanted is not None
    assert (head.weight == wanted.weight).all()
    assert (head.bias == wanted.bias).all()


def test_a_tuned_encoder_that_is_better_is_used(made: Made, capfd: pytest.CaptureFixture[str]) -> None:
    run, frozen = made(hidden())
    candidate = best_candidate(run, frozen, with_documents=False)
    assert candidate.cross_validation is not None
    assert candidate.cross_validation.tuned
    assert candidate.fit.steps == 150
    result: Any = run.ledger.results["candidates"]
    assert result["moved"] > result["as_pretrained"] + 0.2
    line = f"{result['as_pretrained']:.1%} by the pretrained encoder: the tuned encoder is used"
    assert line in capfd.readouterr().err
    assert result["moved"] == pytest.approx(candidate.cross_validation.hits(run.examples.targets).mean(), abs=1e-4)


def test_an_encoder_that_tuning_makes_worse_stays_pretrained(made: Made, capfd: pytest.CaptureFixture[str]) -> None:
    run, frozen = made(plain(), "training.learning_rate=5", "training.tuned_share=1")
    candidate = best_candidate(run, frozen, with_documents=False)
    result: Any = run.ledger.results["candidates"]
    assert result["as_pretrained"] > result["moved"] + 0.2
    assert "the pretrained encoder is used" in capfd.readouterr().err
    check_as_pretrained(run, frozen, candidate)
    fit: Any = run.ledger.results["fit"]
    assert fit["steps"] == 0


def test_without_time_for_tuning_the_encoder_stays_pretrained(made: Made, capfd: pytest.CaptureFixture[str]) -> None:
    run, frozen = made(hidden(), "time_budget_s=1")
    candidate = best_candidate(run, frozen, with_documents=True)
    check_as_pretrained(run, frozen, candidate)
    stderr = capfd.readouterr().err
    assert "the encoder is not tuned on labels: tuning would take about " in stderr
    assert "cross-validation" not in stderr
    assert "candidates" not in run.ledger.results
    # A second start of the same run keeps the decision, although it has more time.
    again = replace(run, time_budget=TimeBudget(1e6, time.monotonic()))
    check_as_pretrained(again, frozen, best_candidate(again, frozen, with_documents=True))
    # Without documents nothing else needs the time.
    alone = best_candidate(run, frozen, with_documents=False)
    assert alone.cross_validation is not None
    assert alone.cross_validation.tuned


def test_an_accurate_pretrained_encoder_gets_no_time_for_tuning(made: Made, capfd: pytest.CaptureFixture[str]) -> None:
    run, frozen = made(plain())
    check_as_pretrained(run, frozen, best_candidate(run, frozen, with_documents=True))
    assert "the encoder is not tuned on labels" in capfd.readouterr().err


@pytest.mark.parametrize("with_documents", [True, False])
def test_settings_decide_whether_the_encoder_is_tuned(
    with_documents: bool, made: Made, capfd: pytest.CaptureFixture[str]
) -> None:
    run, frozen = made(hidden(), "training.moves=never")
    check_as_pretrained(run, frozen, best_candidate(run, frozen, with_documents=with_documents))
    assert "cross-validation" not in capfd.readouterr().err
    run, frozen = made(plain(), "training.moves=always", "training.max_steps=2", "training.min_steps=2")
    run = replace(run, name=f"always-{with_documents}", time_budget=TimeBudget(1, time.monotonic()))
    candidate = best_candidate(run, frozen, with_documents=with_documents)
    assert candidate.cross_validation is not None
    assert (candidate.cross_validation.tuned, candidate.fit.steps) == (True, 2)


def test_a_tuned_encoder_is_rejected_only_if_it_is_worse_by_more_than_chance(made: Made) -> None:
    run, frozen = made(plain())
    validation = cross_validation.cross_validate_pretrained(run.examples, 0, frozen)
    assert validation is not None

    def right(*texts: range) -> CrossValidation:
        hits = np.isin(np.arange(60), np.concatenate([np.asarray(part) for part in texts]))
        targets = np.where(hits, run.examples.targets, (run.examples.targets + 1) % 3)
        return replace(validation, encoder=np.eye(3)[targets])

    assert candidates._tuned_is_better(run, right(range(50)), right(range(50))), "a tie goes to the tuned encoder"
    assert candidates._tuned_is_better(run, right(range(2, 51)), right(range(50)))
    assert not candidates._tuned_is_better(run, right(range(48)), right(range(50)))
    # 20 texts only the pretrained encoder gets right, 18 only the tuned one: the difference is chance.
    assert candidates._tuned_is_better(run, right(range(20, 58)), right(range(40)))
    assert not candidates._tuned_is_better(run, right(range(20, 48)), right(range(40)))


def test_several_workers_run_even_a_small_fit_as_a_job(made: Made) -> None:
    run, _ = made(plain())
    fit = run.examples.fit(run.settings, np.arange(60), np.arange(0), 0)
    assert not RayExecutor(run.settings.ray).needs_job(fit)
    for ray in ({"workers": 2}, {"job_tokens": int(fit.learned_tokens) - 1}):
        assert RayExecutor(run.settings.ray.model_copy(update=ray)).needs_job(fit)


def test_the_number_of_folds() -> None:
    limit = TUNED.few_labels_halved
    counts = [fold_count(labels, with_documents=False) for labels in (8, limit, limit + 1)]
    assert counts == [2, 2, 4]
    assert fold_count(limit + 1, with_documents=True) == 2


def test_the_learning_curve_of_a_pretrained_encoder_has_several_draws(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, frozen = made(plain())
    validation = cross_validation.cross_validate_pretrained(run.examples, 0, frozen)
    assert validation is not None
    curve, of = learning_curve(run, validation, frozen)
    assert of == "model"
    # A quarter and a half of the 45 labels outside a fold, by class.
    assert [(one.labels, len(one.hits)) for one in curve] == [(12, CURVE_DRAWS * 60), (24, CURVE_DRAWS * 60), (45, 60)]
    assert all((np.bincount(one.texts) == len(one.texts) / 60).all() for one in curve)
    monkeypatch.setattr(cross_validation, "LEAST_OF_A_CURVE", 61)
    assert learning_curve(run, validation, frozen) == ([], "model")


def test_the_learning_curve_of_a_tuned_encoder_needs_enough_labels(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cross_validation, "TUNED", replace(TUNED, few_labels_halved=59))
    run, frozen = made(plain(), "training.moves=always", "training.max_steps=20", "training.min_steps=20")
    validation = best_candidate(run, frozen, with_documents=False).cross_validation
    assert validation is not None
    curve, of = learning_curve(run, validation, frozen)
    assert of == "model"
    assert [(one.labels, len(one.hits)) for one in curve] == [(12, 30), (24, 30), (45, 60)]
    assert set(curve[0].texts) == set(np.flatnonzero(np.isin(validation.folds, [0, 1])))
    assert (curve[-1].hits == validation.hits(run.examples.targets)).all()
    # With fewer labels, the curve is that of a head on the pretrained encoder.
    monkeypatch.setattr(cross_validation, "TUNED", replace(TUNED, few_labels_halved=60))
    curve, of = learning_curve(run, validation, frozen)
    assert of == "as_pretrained"
    assert len(curve[0].hits) == CURVE_DRAWS * 60
    pretrained = cross_validation.cross_validate_pretrained(run.examples, 0, frozen)
    assert pretrained is not None
    assert (curve[-1].hits == pretrained.hits(run.examples.targets)).all()


@pytest.mark.parametrize(("lost", "refused"), [(10, False), (12, True)])
def test_documents_are_refused_on_strong_evidence_alone(
    lost: int, refused: bool, made: Made, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    run, frozen = made(plain())
    candidate = best_candidate(run, frozen, with_documents=True)
    assert candidate.cross_validation is not None
    truth = run.examples.one_hot.astype(np.float64)
    validation = replace(candidate.cross_validation, encoder=truth)
    # Label spreading gets ``lost`` of 60 labels wrong, the labels-only model none.
    assert (lost - TUNED.evidence * lost**0.5 > 0) is refused
    propagated = np.where((np.arange(60) < lost)[:, None], np.roll(truth, 1, axis=1), truth)
    monkeypatch.setattr(
        co_training,
        "calibrate_on_held_out",
        lambda *given: HeldOutCalibration(propagated, PseudoLabelCalibration(0.1, 1.0)),
    )
    co_training_run = CoTraining(run, validation, candidate.fit, Pool("pool", tuple(kit.texts(80)), "", 80, 0, 0))
    calibration = co_training_run._calibrate(co_training_run._documents(0, 80))
    assert (calibration is None) is refused
    stderr = capfd.readouterr().err
    line = "label spreading over the documents is clearly less accurate: the model learns from the labels alone"
    assert (line in stderr) is refused
    figures = f"100.0% from labels alone, {1 - lost / 60:.1%} by label spreading over 80 documents"
    assert f"accuracy on held-out labels: {figures}" in stderr
