"""A head on the encoder as it was pretrained, or an encoder that moves: the better one goes on, if there is time."""

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
from tlnlp.train.co_training import EVIDENCE, CoTraining
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

Rows = list[dict[str, Any]]


def hidden(count: int = 60) -> Rows:
    """A class is told by the order of two words: an encoder must learn to look at it."""
    return [
        {
            "text": ("good bad ", "bad good ")[i % 2] + " ".join(kit.texts(1, i // 2)[0].split()[:2]) + f" {i // 2}",
            "label": THREE[i % 2],
        }
        for i in range(count)
    ]


def plain(count: int = 60) -> Rows:
    """Texts of each class are of words of their own: any encoder tells them apart."""
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
        storage = Storage(str(tmp_path / "kept"))
        run = Run(settings, examples, storage, "run", ledger, Budget(settings.cost), time_budget, LocalExecutor())
        frozen = embed_labels(run)
        time_budget.record_reading_throughput(frozen.tokens_per_s)
        return run, frozen

    return make


Made = Callable[..., tuple[Run, PretrainedEmbeddings]]


def check_as_pretrained(run: Run, frozen: PretrainedEmbeddings, found: Candidate) -> None:
    """The encoder of the candidate is the pretrained one, under the head that cross-validation preferred."""
    assert found.found is not None
    assert (found.found.tuned, found.fit.steps, found.found.fits) == (False, 0, [])
    source = run.examples.reader.encoder
    before = load_encoder(
        source.name, len(run.examples.classes), source.conventions.pooling, 0.0, seed=0, normalise=False
    ).state_dict()
    assert all(torch.equal(found.fit.weights[name], before[name]) for name in before if not name.startswith("head."))
    wanted, head = (
        fit_probe(frozen, run.examples, found.found.recipe or ProbeRecipe()),
        LinearHead.of(found.fit.weights),
    )
    assert wanted is not None
    assert (head.weight == wanted.weight).all()
    assert (head.bias == wanted.bias).all()


def test_an_encoder_that_had_to_move_goes_on(made: Made, capfd: pytest.CaptureFixture[str]) -> None:
    run, frozen = made(hidden())
    found = best_candidate(run, frozen, with_documents=False)
    assert found.found is not None
    assert found.found.tuned
    assert found.fit.steps == 150
    told = run.ledger.results["candidates"]
    assert told["moved"] > told["as_pretrained"] + 0.2
    assert f"{told['as_pretrained']:.1%} as it was pretrained; the former goes on" in capfd.readouterr().err
    assert told["moved"] == pytest.approx(found.found.hits(run.examples.targets).mean(), abs=1e-4)


def test_an_encoder_that_moving_ruins_stays_as_it_was(made: Made, capfd: pytest.CaptureFixture[str]) -> None:
    run, frozen = made(plain(), "training.learning_rate=5", "training.tuned_share=1")
    found = best_candidate(run, frozen, with_documents=False)
    told = run.ledger.results["candidates"]
    assert told["as_pretrained"] > told["moved"] + 0.2
    assert "the latter goes on" in capfd.readouterr().err
    check_as_pretrained(run, frozen, found)
    assert run.ledger.results["fit"]["steps"] == 0


def test_without_time_to_move_it_the_encoder_stays(made: Made, capfd: pytest.CaptureFixture[str]) -> None:
    run, frozen = made(hidden(), "time_budget_s=1")
    found = best_candidate(run, frozen, with_documents=True)
    check_as_pretrained(run, frozen, found)
    told = capfd.readouterr().err
    assert "the encoder stays as pretrained at first: moving it on labels would take about " in told
    assert "cross-validation" not in told
    assert "candidates" not in run.ledger.results
    # Started again with all the time there is, the run goes on as it began.
    again = replace(run, time_budget=TimeBudget(1e6, time.monotonic()))
    check_as_pretrained(again, frozen, best_candidate(again, frozen, with_documents=True))
    # Without documents nothing else needs the time.
    alone = best_candidate(run, frozen, with_documents=False)
    assert alone.found is not None
    assert alone.found.tuned


def test_what_the_encoder_knows_leaves_no_time_to_move_it(made: Made, capfd: pytest.CaptureFixture[str]) -> None:
    run, frozen = made(plain())
    check_as_pretrained(run, frozen, best_candidate(run, frozen, with_documents=True))
    assert "the encoder stays as pretrained at first" in capfd.readouterr().err


@pytest.mark.parametrize("with_documents", [True, False])
def test_settings_say_whether_it_moves(with_documents: bool, made: Made, capfd: pytest.CaptureFixture[str]) -> None:
    run, frozen = made(hidden(), "training.moves=never")
    check_as_pretrained(run, frozen, best_candidate(run, frozen, with_documents=with_documents))
    assert "cross-validation" not in capfd.readouterr().err
    run, frozen = made(plain(), "training.moves=always", "training.max_steps=2", "training.min_steps=2")
    run = replace(run, name=f"always-{with_documents}", time_budget=TimeBudget(1, time.monotonic()))
    found = best_candidate(run, frozen, with_documents=with_documents)
    assert found.found is not None
    assert (found.found.tuned, found.fit.steps) == (True, 2)


def test_an_encoder_that_moves_is_left_only_where_it_is_behind_by_more_than_chance(made: Made) -> None:
    run, frozen = made(plain())
    found = cross_validation.cross_validate_pretrained(run.examples, 0, frozen)
    assert found is not None

    def right(*texts: range) -> CrossValidation:
        hits = np.isin(np.arange(60), np.concatenate([np.asarray(part) for part in texts]))
        targets = np.where(hits, run.examples.targets, (run.examples.targets + 1) % 3)
        return replace(found, encoder=np.eye(3)[targets])

    assert candidates._tuned_is_better(run, right(range(50)), right(range(50))), "of as many, the one that moved"
    assert candidates._tuned_is_better(run, right(range(2, 51)), right(range(50)))
    assert not candidates._tuned_is_better(run, right(range(48)), right(range(50)))
    # Of 22 texts that one alone gets right the other gets 20: that is chance.
    assert candidates._tuned_is_better(run, right(range(20, 58)), right(range(40)))
    assert not candidates._tuned_is_better(run, right(range(20, 48)), right(range(40)))


def test_several_workers_share_a_fit_however_small_it_is(made: Made) -> None:
    run, _ = made(plain())
    fit = run.examples.fit(run.settings, np.arange(60), np.arange(0), 0)
    assert not RayExecutor(run.settings.ray).needs_job(fit)
    for ray in ({"workers": 2}, {"job_tokens": int(fit.learned_tokens) - 1}):
        assert RayExecutor(run.settings.ray.model_copy(update=ray)).needs_job(fit)


def test_parts_of_the_labels() -> None:
    limit = cross_validation.FEW_LABELS_HALVED
    counts = [fold_count(labels, with_documents=False) for labels in (8, limit, limit + 1)]
    assert counts == [2, 2, 4]
    assert fold_count(limit + 1, with_documents=True) == 2


def test_a_curve_of_the_encoder_as_it_is_costs_nothing_and_is_drawn_several_times(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, frozen = made(plain())
    found = cross_validation.cross_validate_pretrained(run.examples, 0, frozen)
    assert found is not None
    curve, of = learning_curve(run, found, frozen)
    assert of == "model"
    # Of 45 labels outside a fold, a quarter and a half of each class.
    assert {labels for labels, _ in curve} == {12, 24, 45}
    assert sum(len(hits) for labels, hits in curve if labels == 12) == CURVE_DRAWS * 60
    monkeypatch.setattr(cross_validation, "LEAST_OF_A_CURVE", 61)
    assert learning_curve(run, found, frozen) == ([], "model")


def test_a_curve_of_an_encoder_that_moves_is_of_labels_that_are_worth_it(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cross_validation, "FEW_LABELS_HALVED", 59)
    run, frozen = made(plain(), "training.moves=always", "training.max_steps=20", "training.min_steps=20")
    found = best_candidate(run, frozen, with_documents=False).found
    assert found is not None
    curve, of = learning_curve(run, found, frozen)
    assert of == "model"
    assert [(labels, len(hits)) for labels, hits in curve] == [(12, 15), (12, 15), (24, 15), (24, 15), (45, 60)]
    assert (curve[-1][1] == found.hits(run.examples.targets)).all()
    # Of fewer labels it is that of a head on the encoder as it was.
    monkeypatch.setattr(cross_validation, "FEW_LABELS_HALVED", 60)
    curve, of = learning_curve(run, found, frozen)
    assert of == "as_pretrained"
    assert sum(len(hits) for labels, hits in curve if labels == 12) == CURVE_DRAWS * 60
    still = cross_validation.cross_validate_pretrained(run.examples, 0, frozen)
    assert still is not None
    assert (curve[-1][1] == still.hits(run.examples.targets)).all()


@pytest.mark.parametrize(("lost", "refused"), [(10, False), (12, True)])
def test_documents_are_refused_on_strong_evidence_alone(
    lost: int, refused: bool, made: Made, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    run, frozen = made(plain())
    candidate = best_candidate(run, frozen, with_documents=True)
    assert candidate.found is not None
    truth = run.examples.one_hot.astype(np.float64)
    found = replace(candidate.found, encoder=truth)
    # So many of 60 labels are told wrong among documents, and none without them.
    assert (lost - EVIDENCE * lost**0.5 > 0) is refused
    near = np.where((np.arange(60) < lost)[:, None], np.roll(truth, 1, axis=1), truth)
    monkeypatch.setattr(
        co_training, "measure", lambda *given: HeldOutCalibration(near, PseudoLabelCalibration(0.1, 1.0))
    )
    documents = CoTraining(run, found, candidate.fit, Pool("pool", tuple(kit.texts(80)), "", 80, 0, 0))
    calibration = documents._calibrate(documents._documents(0, 80))
    assert (calibration is None) is refused
    told = capfd.readouterr().err
    assert ("labels are clearly told worse: the labels alone are learned from" in told) is refused
    assert f"held-out labels right: 100.0% by labels alone, {1 - lost / 60:.1%} among 80 documents" in told
