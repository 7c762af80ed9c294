"""Co-training: rounds, pools that cannot help, and resumption of a run that was killed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import kit
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from train_kit import THREE, foreign, misleading, sentences, shuffled

from tlnlp.config import EvaluateSettings, FinetuneSettings, RaySettings, load_settings
from tlnlp.errors import EngineError, InputDataError, LabelFaultsError
from tlnlp.evaluate.evaluation import evaluate_version
from tlnlp.model.classifier import Classifier
from tlnlp.model.ngram import NgramView
from tlnlp.registry import Registry
from tlnlp.storage.uri import local_path
from tlnlp.train import co_training, time_budget
from tlnlp.train.co_training import CoTraining
from tlnlp.train.co_training_round import RoundPredictions
from tlnlp.train.distributed.ray_executor import RayExecutor
from tlnlp.train.executor import Executor
from tlnlp.train.finetune import FinetuneResult, finetune
from tlnlp.train.fit.ngram_fit import NgramFit
from tlnlp.train.local_executor import LocalExecutor
from tlnlp.train.time_budget import Plan, TimeBudget
from tlnlp.train.tuned_constants import TUNED


@pytest.fixture(autouse=True)
def short_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten rounds: a tiny encoder needs fewer windows."""
    monkeypatch.setattr(time_budget, "TUNED", replace(TUNED, short_round_crops=600))


def pool(folder: Path, count: int = 200, seed: int = 5) -> Path:
    """Write documents of the same source as the labelled texts."""
    rows = [{"id": row["id"], "text": row["text"]} for row in kit.labelled(count, seed, THREE)]
    return kit.write_jsonl(folder / "pool.jsonl", rows)


def overrides(folder: Path, encoder: Path, documents: Path | None, labels: int = 30) -> list[str]:
    rows = kit.write_jsonl(folder / f"labels-{labels}.jsonl", kit.labelled(labels, 0, THREE))
    return [
        f"labels={rows}",
        f"registry={folder / 'registry'}",
        "model=moods",
        f"encoder={encoder}",
        "max_length=32",
        "training.batch_size=8",
        "training.min_steps=4",
        "training.max_steps=4",
        "training.crop_tokens=8",
        "teaching.crop_tokens=8",
        "teaching.batch_size=8",
        "teaching.max_rounds=2",
        "time_budget_s=6000",  # Even a busy machine must have time for all rounds.
        *([f"unlabelled={documents}"] if documents is not None else []),
    ]


def run(given: list[str], executor: Executor | None = None) -> FinetuneResult:
    """Fine-tune in this process, unless an executor says where."""
    return finetune(load_settings(FinetuneSettings, None, given), executor or LocalExecutor())


def training_of(result: FinetuneResult) -> dict[str, Any]:
    path = local_path(result.version.uri)
    assert path is not None
    return dict(json.loads((path / "training.json").read_text()))


@pytest.mark.usefixtures("cluster")
def test_two_rounds_cut_short_between_them(
    tmp_path: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    # The pool holds the labelled texts too.
    labelled = [{"id": row["id"], "text": row["text"]} for row in kit.labelled(30, 0, THREE)]
    documents = pool(tmp_path)
    documents.write_text(documents.read_text() + "".join(f"{json.dumps(row)}\n" for row in labelled))
    # The encoder must be tuned, even if a head on the pretrained encoder were better.
    given = [*overrides(tmp_path, tiny_encoder, documents), "training.moves=always"]
    # Three rounds of 90 read 270 documents out of 200, so the third repeats 70 of the first.
    monkeypatch.setattr(TimeBudget, "plan", lambda *limits: Plan(2, 90))
    whole = CoTraining._report_round

    def killed(self: CoTraining, number: int, predictions: RoundPredictions) -> None:
        if number == 2:
            raise EngineError("killed")
        whole(self, number, predictions)

    monkeypatch.setattr(CoTraining, "_report_round", killed)
    with pytest.raises(EngineError, match="killed"):
        run(given, RayExecutor(RaySettings()))
    monkeypatch.setattr(CoTraining, "_report_round", whole)
    stderr = capfd.readouterr().err
    assert "co-training: 2 rounds, with 90 of 200 documents in each\n" in stderr
    assert "round 1: encoder: " in stderr
    registry = Registry(str(tmp_path / "registry"))
    (before,) = registry.ledgers("moods")
    learned, learn = list[NgramFit](), NgramFit.learn

    def recorded(self: NgramFit) -> NgramView:
        learned.append(self)
        return learn(self)

    monkeypatch.setattr(NgramFit, "learn", recorded)
    monkeypatch.setattr(TimeBudget, "record_label_throughput", lambda self, rate: self.record_throughput(rate / 2))
    result = run(given, RayExecutor(RaySettings()))
    stderr = capfd.readouterr().err
    assert "cross-validation: resumed from an earlier start of this run" in stderr
    assert "student-1: resumed from an earlier start of this run" in stderr
    assert "round 1: encoder: " not in stderr
    assert "round 2: encoder: " in stderr
    assert "round 2: the views agree on" in stderr
    after, _ = registry.ledgers("moods")
    # The second start keeps the first plan and its throughput, although it measures another throughput itself.
    assert after["results"]["plan"] == before["results"]["plan"]
    assert [stage["name"] for stage in after["stages"]] == [
        "labels", "unlabelled", "encoder", "frozen_encoder", "cross_validation", "fit", "held_out", "round_1",
        "round_2", "last_guesses", "report", "bundle", "register",
    ]  # fmt: skip
    assert (after["counts"]["unlabelled"], after["counts"]["labelled_inside"]) == (200, 30)
    # The last n-grams learn from the documents of all rounds.
    of_documents = [fit for fit in learned if fit.c == TUNED.pseudo_labels_c]
    assert len(of_documents[-1].texts) == len(set(of_documents[-1].texts)) == 200
    check_version_of_two_rounds(result, tmp_path)


def check_version_of_two_rounds(result: FinetuneResult, folder: Path) -> None:
    assert result.version.version == 1
    training = training_of(result)
    # A later evaluation recognises documents that training read; labelled texts count as labels, not as documents.
    assert len(training["unlabelled_model_text_sha256"]) == 200
    given = [f"registry={folder / 'registry'}", "model=moods@1", f"labels={folder / 'evaluated.jsonl'}"]
    kit.write_jsonl(folder / "evaluated.jsonl", [*kit.labelled(20, 5, THREE), *kit.labelled(5, 0, THREE)])
    evaluated = evaluate_version(load_settings(EvaluateSettings, None, given))
    assert (evaluated.trained_on, evaluated.read_unlabelled) == (5, 20)
    report = training["report"]
    assert [one["round"] for one in report["rounds"]] == [1, 2, 3]
    assert report["pool"] == {"documents": 200, "read": 270, "labelled_inside": 30}
    path = local_path(result.version.uri)
    assert path is not None
    assert Classifier.load(path, threads=1).predict(kit.texts(3)).sum(axis=1) == pytest.approx(1.0)
    assert not [path for path in (folder / "registry/moods/training").rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("evidence", "reason"),
    [
        (
            -TUNED.evidence,
            "label spreading over the documents is clearly less accurate: the model learns from the labels alone",
        ),
        (
            TUNED.evidence,
            "n-grams trained on the unlabelled documents are clearly less accurate: the model learns from the labels "
            "alone",
        ),
    ],
)
def test_a_pool_that_does_not_help_is_not_used(
    evidence: float,
    reason: str,
    tmp_path: Path,
    tiny_encoder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    # With 300 labels the n-gram view is accurate without documents. Label spreading is only a little less accurate than
    # the labels-only model, so positive ``evidence`` lets it pass, and a negative one refuses it.
    monkeypatch.setattr(co_training, "TUNED", replace(TUNED, evidence=evidence))
    given = overrides(tmp_path, tiny_encoder, misleading(tmp_path), labels=300)
    result = run([*given, "training.tuned_share=1", "training.moves=always"])
    stderr = capfd.readouterr().err
    assert "co-training: 2 rounds, with 600 of 600 documents in each\n" in stderr
    assert reason in stderr
    assert "round 1: encoder: " not in stderr
    (ledger,) = Registry(str(tmp_path / "registry")).ledgers("moods")
    assert "fit" in [stage["name"] for stage in ledger["stages"]]
    assert result.version.version == 1


def test_documents_of_another_source_are_not_used(
    tmp_path: Path, tiny_encoder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    result = run(overrides(tmp_path, tiny_encoder, foreign(tmp_path)))
    stderr = capfd.readouterr().err
    assert (
        "are further from the labelled texts than those are from one another: their subject or language is another: "
        "the model learns from the labels alone"
    ) in stderr
    assert "co-training: " not in stderr
    (ledger,) = Registry(str(tmp_path / "registry")).ledgers("moods")
    assert ledger["results"]["relevance"]["same_source"] is False
    assert ledger["results"]["relevance"]["further"] >= TUNED.foreign
    assert training_of(result)["report"]["pool"] == {"documents": 200, "read": 0, "labelled_inside": 0}
    assert training_of(result)["unlabelled_model_text_sha256"] == []


def test_documents_without_an_order_of_words_are_not_used(
    tmp_path: Path, tiny_encoder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    labelled = [{"text": text, "label": kit.CLASSES[number % 2]} for number, text in enumerate(sentences(40, 1))]
    labels = kit.write_jsonl(
        tmp_path / "labels.jsonl", [one | {"text": f"{one['label']}: {one['text']}"} for one in labelled]
    )
    words = [{"id": str(number), "text": text} for number, text in enumerate(shuffled(sentences(200, 2)))]
    documents = kit.write_jsonl(tmp_path / "words.jsonl", words)
    result = run([*overrides(tmp_path, tiny_encoder, documents), f"labels={labels}", "on_fault=skip"])
    assert "documents: their words have no order" in capfd.readouterr().err
    (ledger,) = Registry(str(tmp_path / "registry")).ledgers("moods")
    assert ledger["results"]["word_order"]["is_kept"] is False
    assert training_of(result)["unlabelled_model_text_sha256"] == []


@pytest.mark.parametrize("moves", ["always", "never"])
def test_documents_are_read_once_where_no_round_fits_into_the_time(
    moves: str,
    tmp_path: Path,
    tiny_encoder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(TimeBudget, "plan", lambda *limits: Plan(0, 90))
    result = run([*overrides(tmp_path, tiny_encoder, pool(tmp_path)), f"training.moves={moves}"])
    stderr = capfd.readouterr().err
    assert "co-training: no time to fine-tune on documents: 90 of 200 documents are read once\n" in stderr
    assert "round 1: encoder" not in stderr
    assert result.steps == (4 if moves == "always" else 0)
    (ledger,) = Registry(str(tmp_path / "registry")).ledgers("moods")
    assert ledger["results"]["relevance"]["same_source"] is True
    stages = [stage["name"] for stage in ledger["stages"]]
    assert stages[stages.index("held_out") :] == ["held_out", "last_guesses", "report", "bundle", "register"]
    training = training_of(result)
    assert [one["round"] for one in training["report"]["rounds"]] == [1]
    assert training["report"]["pool"] == {"documents": 200, "read": 90, "labelled_inside": 0}
    assert len(training["unlabelled_model_text_sha256"]) == 90
    # Both views have a weight, with a tuned encoder as well as with a pretrained one.
    path = local_path(result.version.uri)
    assert path is not None
    classifier = Classifier.load(path, threads=1)
    assert classifier.spec.encoder_weight > 0
    assert classifier.spec.ngram_weight > 0


def test_equal_texts_or_a_single_class_are_refused(tmp_path: Path, tiny_encoder: Path) -> None:
    same = [{"id": str(i), "text": "the same bread", "label": THREE[0]} for i in range(20)]
    kit.write_jsonl(tmp_path / "labels-30.jsonl", same)
    given = overrides(tmp_path, tiny_encoder, None)
    kit.write_jsonl(tmp_path / "labels-30.jsonl", same)
    with pytest.raises(LabelFaultsError):
        run(given)
    one_class = [{"id": str(i), "text": f"bread {i}", "label": THREE[0]} for i in range(20)]
    kit.write_jsonl(tmp_path / "labels-30.jsonl", one_class)
    with pytest.raises(InputDataError, match="class"):
        run(given)


@pytest.mark.parametrize(("texts", "distinct"), [(["the same bread"] * 50, 1), ([], 0)])
def test_a_pool_of_equal_texts_or_of_none_is_not_used(
    texts: list[str], distinct: int, tmp_path: Path, tiny_encoder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    documents = tmp_path / "pool.parquet"
    pq.write_table(pa.table({"text": pa.array(texts, pa.string())}), documents)
    result = run(overrides(tmp_path, tiny_encoder, documents))
    line = f"too few unlabelled documents ({distinct} of at least 50): the model learns from the labels alone"
    assert line in capfd.readouterr().err
    assert training_of(result)["report"]["pool"] == {"documents": distinct, "read": 0, "labelled_inside": 0}
    assert result.version.version == 1


@pytest.mark.acceptance
def test_ten_thousand_labels(tmp_path: Path, tiny_encoder: Path) -> None:
    result = run(overrides(tmp_path, tiny_encoder, pool(tmp_path), labels=10_000))
    assert (result.labels, result.version.version) == (10_000, 1)
    assert result.held_out is not None
    # With so many labels, a single fold is held out.
    assert 2000 <= result.held_out.n <= 2600


def test_two_labels(tmp_path: Path, tiny_encoder: Path) -> None:
    given = overrides(tmp_path, tiny_encoder, pool(tmp_path))
    kit.write_jsonl(tmp_path / "labels-30.jsonl", kit.labelled(2, 0, THREE[:2]))
    with pytest.raises(LabelFaultsError, match="min_per_class"):
        run(given)
    result = run([*given, "min_per_class=1"])
    assert (result.labels, result.held_out) == (2, None)
