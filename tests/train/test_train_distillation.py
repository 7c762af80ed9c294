"""Distilling a student from both views: its layers, its documents, and whether a version keeps it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import kit
import numpy as np
import pytest
from train_kit import THREE, settings

from tlnlp.config import FinetuneSettings, load_settings
from tlnlp.evaluate.cascade_gate import CascadeTest
from tlnlp.model import bundle
from tlnlp.model.bundle_spec import StudentSpec, read_spec
from tlnlp.model.classifier import Classifier
from tlnlp.model.profile import CTRANSLATE2_INT8, SAFE, Profile
from tlnlp.model.torch_encoder import load_encoder
from tlnlp.registry import Registry
from tlnlp.storage.uri import local_path
from tlnlp.train import bundle_assembly, cascade_choice, distillation
from tlnlp.train.cascade_choice import AsideProbabilities, best_cascade
from tlnlp.train.distillation import chosen_layers, distilling_s
from tlnlp.train.finetune import finetune
from tlnlp.train.fit.trainer import keep_layers, layers_of
from tlnlp.train.local_executor import LocalExecutor
from tlnlp.train.tuned_constants import TUNED


def test_the_layers_of_a_student_are_spread_evenly() -> None:
    assert chosen_layers(12, 3) == (0, 4, 8)
    assert chosen_layers(12, 6) == (0, 2, 4, 6, 8, 10)
    assert chosen_layers(5, 2) == (0, 2)
    assert chosen_layers(3, 1) == (0,)


@pytest.mark.parametrize("kind", ["bert", "roberta", "distilbert"])
def test_a_student_starts_from_layers_of_its_teacher(kind: str, tmp_path: Path) -> None:
    folder = kit.make_encoder(tmp_path / "encoder", kind, layers=4)
    teacher, student = (load_encoder(str(folder), 2, "mean", 0.0, 1) for _ in range(2))
    keep_layers(student.encoder, (0, 2))
    assert len(layers_of(student.encoder)) == 2
    for own, other in ((0, 0), (1, 2)):
        found, wanted = (
            layers_of(model.encoder)[place].state_dict() for model, place in ((student, own), (teacher, other))
        )
        assert all((found[name] == wanted[name]).all() for name in wanted)
    # Transformers reads the number of layers when it saves the network.
    student.encoder.save_pretrained(tmp_path / "student")  # type: ignore[operator]
    config = json.loads((tmp_path / "student" / "config.json").read_text())
    assert config["n_layers" if kind == "distilbert" else "num_hidden_layers"] == 2


def test_a_student_needs_time_and_documents_to_test_it_on() -> None:
    given = load_settings(FinetuneSettings, None, ["labels=labels.jsonl", "time_budget_s=7200"])
    assert distilling_s(given, ("a document",)) == pytest.approx(7200 * TUNED.distilling_share)
    assert distilling_s(given, ()) == 0
    assert distilling_s(given.model_copy(update={"student": "none"}), ("a document",)) == 0
    assert distilling_s(given.model_copy(update={"time_budget_s": 1200.0}), ("a document",)) == 0


class TestChoice:
    """The faster of the cascades with and without a student is chosen."""

    @staticmethod
    def read(student_s: float, noise: float) -> AsideProbabilities:
        generator = np.random.default_rng(1)
        truth = generator.normal(0.0, 4.0, 3000)
        odds = [truth + generator.normal(0.0, scale, 3000) for scale in (2.0, noise, 0.0)]
        ngram, student, both = (1 / (1 + np.exp(np.column_stack([one, -one]))) for one in odds)
        return AsideProbabilities(ngram, both, 1.0, student, student_s)

    @pytest.mark.parametrize(("student_s", "noise", "kept"), [(0.1, 0.5, True), (0.9, 0.5, False), (0.1, 30.0, False)])
    def test_a_student_must_save_time(self, student_s: float, noise: float, kept: bool) -> None:
        found = best_cascade(self.read(student_s, noise), 0.005)
        assert found is not None
        assert (found[0].student is not None) is kept

    def test_a_test_of_a_student_counts_what_it_settles(self) -> None:
        found = best_cascade(self.read(0.1, 0.5), 0.005)
        assert found is not None
        test: CascadeTest = found[1]
        assert 0.05 < test.student_share < 1 - test.settled_share


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take a student of one layer, whether it saves time on this machine or not."""
    monkeypatch.setattr(bundle_assembly, "LEAST_ASIDE", 20)
    monkeypatch.setattr(cascade_choice, "LEAST_SAVING", -1e9)
    monkeypatch.setattr(distillation, "TUNED", replace(TUNED, student_layers=1, student_tokens=16))
    monkeypatch.setattr(distillation, "LEAST_S", 1.0)


def fitted(folder: Path, *more: str) -> tuple[Path, dict[str, Any]]:
    """Fine-tune with documents; return the bundle and the results in the ledger."""
    encoder = kit.make_encoder(folder / "encoder", layers=3)
    texts = [f"{row['text']} {number}" for number, row in enumerate(kit.labelled(400, 5, THREE))]
    documents = kit.write_jsonl(folder / "pool.jsonl", [{"text": text} for text in texts])
    given = settings(folder, encoder, "ray.job_tokens=100000000", f"unlabelled={documents}", steps=4)
    given += ["teaching.max_rounds=1", "cascade.safe=0.5", "cascade.fast=0.6", "time_budget_s=600", *more]
    result = finetune(load_settings(FinetuneSettings, None, given), LocalExecutor())
    path = local_path(result.version.uri)
    assert path is not None
    (ledger,) = Registry(str(folder / "registry")).ledgers("moods")
    return path, dict(ledger["results"])


@pytest.mark.usefixtures("always")
def test_a_version_with_a_student(tmp_path: Path) -> None:
    path, results = fitted(tmp_path, "engine=ctranslate2-int8")
    assert read_spec(path).student == StudentSpec(1, 16)
    assert results["distillation"]["steps"] > 0
    assert results["distillation"]["documents"] > 100
    assert results["cascade"]["safe"]["student_share"] >= 0
    classifier = Classifier.load(path, 1, Profile(CTRANSLATE2_INT8, SAFE))
    assert classifier.student is not None
    texts = kit.texts(200, 9)
    # It has learned: it is nearer to both views than chance.
    student = classifier.student.predict(classifier.encoder.encode(texts))
    both = classifier.predict_without_cascade(texts)
    assert (student.argmax(axis=1) == both.argmax(axis=1)).mean() > 0.5


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("more", ["student=none", pytest.param("engine=onnx-fp32", marks=pytest.mark.acceptance)])
def test_a_version_without_a_student(tmp_path: Path, more: str) -> None:
    path, results = fitted(tmp_path, more)
    assert read_spec(path).student is None
    assert not (path / bundle.STUDENT).exists()
    assert results["cascade"]["safe"]["student_share"] == 0
    assert Classifier.load(path, 1).student is None
