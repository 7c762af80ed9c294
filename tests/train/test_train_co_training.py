"""Learning from unlabelled documents: rounds, degenerate pools, resumption."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import kit
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from train_kit import THREE

from tlnlp.config import EvaluateSettings, FinetuneSettings, RaySettings, load_settings
from tlnlp.errors import EngineError, InputDataError, LabelFaultsError
from tlnlp.evaluate.evaluation import evaluate_version
from tlnlp.model.classifier import Classifier
from tlnlp.model.ngram import NgramView
from tlnlp.registry import Registry
from tlnlp.storage.uri import local_path
from tlnlp.train import co_training, time_budget
from tlnlp.train.co_training import EVIDENCE, CoTraining
from tlnlp.train.co_training_round import RoundPredictions
from tlnlp.train.distributed.ray_executor import RayExecutor
from tlnlp.train.domain_shift import FOREIGN
from tlnlp.train.executor import Executor
from tlnlp.train.finetune import FinetuneResult, finetune
from tlnlp.train.fit.ngram_fit import NgramFit
from tlnlp.train.local_executor import LocalExecutor
from tlnlp.train.pseudo_labels import PSEUDO_LABELS_C
from tlnlp.train.time_budget import Plan, TimeBudget


@pytest.fixture(autouse=True)
def short_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tiny encoder has learned what it can in fewer windows."""
    monkeypatch.setattr(time_budget, "SHORT_ROUND_CROPS", 600)


def pool(folder: Path, count: int = 200, seed: int = 5) -> Path:
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
        "time_budget_s=6000",  # A busy machine must not cut rounds.
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
    # A fit on all labels, whatever a head on the encoder as it is would come to.
    given = [*overrides(tmp_path, tiny_encoder, documents), "training.moves=always"]
    # Rounds of 90 read 270 in all, of 200: the third reads 70 of the first again.
    monkeypatch.setattr(TimeBudget, "plan", lambda *limits: Plan(2, 90))
    whole = CoTraining._report_round

    def killed(self: CoTraining, number: int, guesses: RoundPredictions) -> None:
        if number == 2:
            raise EngineError("killed")
        whole(self, number, guesses)

    monkeypatch.setattr(CoTraining, "_report_round", killed)
    with pytest.raises(EngineError, match="killed"):
        run(given, RayExecutor(RaySettings()))
    monkeypatch.setattr(CoTraining, "_report_round", whole)
    told = capfd.readouterr().err
    assert "teaching: 2 round(s), 90 of 200 documents a round" in told
    assert "round 1: encoder: " in told
    registry = Registry(str(tmp_path / "registry"))
    (before,) = registry.ledgers("moods")
    learned, learn = list[NgramFit](), NgramFit.learn

    def watched(self: NgramFit) -> NgramView:
        learned.append(self)
        return learn(self)

    monkeypatch.setattr(NgramFit, "learn", watched)
    monkeypatch.setattr(TimeBudget, "record_label_throughput", lambda self, rate: self.record_throughput(rate / 2))
    result = run(given, RayExecutor(RaySettings()))
    told = capfd.readouterr().err
    assert "cross-validation: taken up" in told
    assert "pupil-1: taken up" in told
    assert "round 1: encoder: " not in told
    assert "round 2: encoder: " in told
    assert "round 2: the views agree on" in told
    after, _ = registry.ledgers("moods")
    # The plan is told with the pace by which it was made, whatever the machine's is now.
    assert after["results"]["plan"] == before["results"]["plan"]
    assert [stage["name"] for stage in after["stages"]] == [
        "labels", "unlabelled", "encoder", "frozen_encoder", "cross_validation", "fit", "held_out", "round_1",
        "round_2", "last_guesses", "report", "bundle", "register",
    ]  # fmt: skip
    assert (after["counts"]["unlabelled"], after["counts"]["labelled_inside"]) == (200, 30)
    # The last n-grams learn from the documents of all rounds.
    of_documents = [fit for fit in learned if fit.c == PSEUDO_LABELS_C]
    assert len(of_documents[-1].texts) == len(set(of_documents[-1].texts)) == 200
    check_version_of_two_rounds(result, tmp_path)


def check_version_of_two_rounds(result: FinetuneResult, folder: Path) -> None:
    assert result.version.version == 1
    training = training_of(result)
    # Documents that are evaluated later are known again, labels among them not.
    assert len(training["unlabelled_sha256"]) == 200
    given = [f"registry={folder / 'registry'}", "model=moods@1", f"labels={folder / 'evaluated.jsonl'}"]
    kit.write_jsonl(folder / "evaluated.jsonl", [*kit.labelled(20, 5, THREE), *kit.labelled(5, 0, THREE)])
    evaluated = evaluate_version(load_settings(EvaluateSettings, None, given))
    assert (evaluated.trained_on, evaluated.read_unlabelled) == (5, 20)
    report = training["report"]
    assert [told["round"] for told in report["rounds"]] == [1, 2, 3]
    assert report["pool"] == {"documents": 200, "read": 270, "labelled_inside": 30}
    path = local_path(result.version.uri)
    assert path is not None
    assert Classifier.load(path, threads=1).predict(kit.texts(3)).sum(axis=1) == pytest.approx(1.0)
    assert not [path for path in (folder / "registry/moods/training").rglob("*") if path.is_file()]


def foreign(folder: Path) -> Path:
    words = ["pluie", "jardin", "lumiere", "fenetre", "chemin", "rivage"]
    generator = np.random.default_rng(0)
    rows = [{"id": str(i), "text": " ".join(generator.choice(words, 9)) + f" {i}"} for i in range(200)]
    return kit.write_jsonl(folder / "pool.jsonl", rows)


def misleading(folder: Path) -> Path:
    """Around each label, texts that differ from it in nothing but what tells its class."""
    marks = ("bad", "good", "cold")
    texts = [row["text"].partition(" ") for row in kit.labelled(300, 0, THREE)]
    others = [f"{mark} {rest}" for first, _, rest in texts for mark in marks if mark != first]
    return kit.write_jsonl(folder / "pool.jsonl", [{"id": str(i), "text": text} for i, text in enumerate(others)])


@pytest.mark.parametrize(
    ("evidence", "reason"),
    [
        (-EVIDENCE, "among the unlabelled documents labels are clearly told worse: the labels alone are learned from"),
        (EVIDENCE, "the unlabelled documents teach nothing about these labels: the labels alone are learned from"),
    ],
)
def test_a_pool_that_teaches_nothing_is_left_aside(
    evidence: float,
    reason: str,
    tmp_path: Path,
    tiny_encoder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    # 300 labels: the n-gram view knows them well without any document. What documents tell of labels is a little worse
    # than without them, which is no strong evidence; were the burden of proof theirs, they would be refused for it.
    monkeypatch.setattr(co_training, "EVIDENCE", evidence)
    given = overrides(tmp_path, tiny_encoder, misleading(tmp_path), labels=300)
    result = run([*given, "training.tuned_share=1", "training.moves=always"])
    told = capfd.readouterr().err
    assert "teaching: 2 round(s), 600 of 600 documents a round" in told
    assert reason in told
    assert "round 1: encoder: " not in told
    (ledger,) = Registry(str(tmp_path / "registry")).ledgers("moods")
    assert "fit" in [stage["name"] for stage in ledger["stages"]]
    assert result.version.version == 1


def test_documents_of_another_source_are_left_aside_before_anything_is_learned_from_them(
    tmp_path: Path, tiny_encoder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    result = run(overrides(tmp_path, tiny_encoder, foreign(tmp_path)))
    told = capfd.readouterr().err
    assert "are further from the labelled texts than those are from one another; they are of another subject" in told
    assert "teaching: " not in told
    (ledger,) = Registry(str(tmp_path / "registry")).ledgers("moods")
    assert ledger["results"]["relevance"]["same_source"] is False
    assert ledger["results"]["relevance"]["further"] >= FOREIGN
    assert training_of(result)["report"]["pool"] == {"documents": 200, "read": 0, "labelled_inside": 0}
    assert training_of(result)["unlabelled_sha256"] == []


@pytest.mark.parametrize("moves", ["always", "never"])
def test_documents_are_read_once_where_no_encoder_can_learn_in_time(
    moves: str,
    tmp_path: Path,
    tiny_encoder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(TimeBudget, "plan", lambda *limits: Plan(0, 90))
    result = run([*overrides(tmp_path, tiny_encoder, pool(tmp_path)), f"training.moves={moves}"])
    told = capfd.readouterr().err
    assert "teaching: 0 round(s), 90 of 200 documents a round" in told
    assert "round 1: encoder" not in told
    assert result.steps == (4 if moves == "always" else 0)
    (ledger,) = Registry(str(tmp_path / "registry")).ledgers("moods")
    assert ledger["results"]["relevance"]["same_source"] is True
    stages = [stage["name"] for stage in ledger["stages"]]
    assert stages[stages.index("held_out") :] == ["held_out", "last_guesses", "report", "bundle", "register"]
    training = training_of(result)
    assert [told["round"] for told in training["report"]["rounds"]] == [1]
    assert training["report"]["pool"] == {"documents": 200, "read": 90, "labelled_inside": 0}
    assert len(training["unlabelled_sha256"]) == 90
    # Measured among documents, or told by a head: either way, both views count.
    path = local_path(result.version.uri)
    assert path is not None
    classifier = Classifier.load(path, threads=1)
    assert classifier.spec.encoder_weight > 0
    assert classifier.spec.ngram_weight > 0


def test_texts_that_are_all_equal_and_a_single_class(tmp_path: Path, tiny_encoder: Path) -> None:
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
def test_a_pool_of_equal_texts_or_of_none_leaves_the_labels_alone(
    texts: list[str], distinct: int, tmp_path: Path, tiny_encoder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    documents = tmp_path / "pool.parquet"
    pq.write_table(pa.table({"text": pa.array(texts, pa.string())}), documents)
    result = run(overrides(tmp_path, tiny_encoder, documents))
    assert f"{distinct} unlabelled documents are too few; the labels alone are learned from" in capfd.readouterr().err
    assert training_of(result)["report"]["pool"] == {"documents": distinct, "read": 0, "labelled_inside": 0}
    assert result.version.version == 1


def test_ten_thousand_labels(tmp_path: Path, tiny_encoder: Path) -> None:
    result = run(overrides(tmp_path, tiny_encoder, pool(tmp_path), labels=10_000))
    assert (result.labels, result.version.version) == (10_000, 1)
    assert result.held_out is not None
    # So many need not all be held out in turn.
    assert 2000 <= result.held_out.n <= 2600


def test_two_labels(tmp_path: Path, tiny_encoder: Path) -> None:
    given = overrides(tmp_path, tiny_encoder, pool(tmp_path))
    kit.write_jsonl(tmp_path / "labels-30.jsonl", kit.labelled(2, 0, THREE[:2]))
    with pytest.raises(LabelFaultsError, match="min_per_class"):
        run(given)
    result = run([*given, "min_per_class=1"])
    assert (result.labels, result.held_out) == (2, None)
