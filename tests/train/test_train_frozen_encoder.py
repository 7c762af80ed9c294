"""What classes are called: how it is said, when it is learned from, and when labels contradict it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tlnlp.config import FinetuneSettings, TrainingSettings
from tlnlp.data.labels import Example, LabelledSet
from tlnlp.errors import UsageError
from tlnlp.train.dataset import CLASS_NAME_TEMPLATES, NO_TEXTS, Examples, Reader, said_of
from tlnlp.train.finetune import finetune
from tlnlp.train.frozen_encoder import PretrainedEmbeddings, accuracy_by_names, names_contradicted

NONE = np.zeros(0, dtype=np.int64)


def examples(folder: Path, encoder: Path, objective: str = "auto") -> tuple[Examples, FinetuneSettings]:
    settings = FinetuneSettings(
        labels="labels", encoder=str(encoder), training=TrainingSettings.model_validate({"objective": objective})
    )
    rows = tuple(Example(text, label, "f", row) for row, (text, label) in enumerate([("salt", "a"), ("sea", "b")] * 4))
    labelled = LabelledSet("labels", "", 8, rows, ("a", "b"))
    return Examples.make(labelled, Reader.make(settings, folder), {"a": "sour"}), settings


def test_what_classes_are_called() -> None:
    assert said_of(("not_spam", "Sci/Tech"), {})[:2] == ["not spam", "Sci Tech"]
    assert said_of(("0", "1"), {"0": "bad", "1": "good"})[:4] == [
        "bad",
        "good",
        "It is about bad.",
        "It is about good.",
    ]
    assert said_of(("0", "1"), {"0": "bad"}) == said_of(("1.5", "-"), {}) == []
    assert said_of(("größer", "ниже"), {})[:2] == ["größer", "ниже"]


def test_few_labels_are_learned_from_beside_what_their_classes_are_called(tmp_path: Path, tiny_encoder: Path) -> None:
    found, settings = examples(tmp_path, tiny_encoder)
    fit = found.fit(settings, np.array([0, 1, 2]), NONE, 0)
    saying = len(CLASS_NAME_TEMPLATES)
    assert len(fit.tokens) == len(fit.weights) == 3 + 2 * saying
    assert fit.targets.tolist() == [[1, 0], [0, 1], [1, 0], *([[1, 0], [0, 1]] * saying)]
    called = found.reader.whole.encode(["sour", "b"])
    assert [ids.tolist() for ids in fit.tokens[3:5]] == [list(ids) for ids in called]
    assert len(replace(found, named=NO_TEXTS).fit(settings, np.array([0, 1, 2]), NONE, 0).tokens) == 3


def test_many_labels_need_no_names(tmp_path: Path, tiny_encoder: Path) -> None:
    found, settings = examples(tmp_path, tiny_encoder, "classify")
    assert len(found.fit(settings, np.array([0, 1, 2]), NONE, 0).tokens) == 3


@pytest.mark.parametrize(("swapped", "right"), [(False, 1.0), (True, 0.0)])
def test_names_that_labels_contradict(tmp_path: Path, tiny_encoder: Path, swapped: bool, right: float) -> None:
    found, _ = examples(tmp_path, tiny_encoder)
    apart = np.eye(2)[::-1] if swapped else np.eye(2)
    # All texts are nearer to the second name than to the first; only the difference among texts tells.
    names = np.tile(apart + np.array([[0.0, 0.0], [0.9, 0.9]]), (len(CLASS_NAME_TEMPLATES), 1))
    frozen = PretrainedEmbeddings(np.arange(8), np.eye(2)[found.targets], names)
    assert accuracy_by_names(frozen, found) == right
    assert names_contradicted(right, found) is swapped


def test_eight_labels_contradict_little(tmp_path: Path, tiny_encoder: Path) -> None:
    found, _ = examples(tmp_path, tiny_encoder)
    assert not names_contradicted(0.375, found)
    assert names_contradicted(0.25, found)


def test_a_description_of_no_class(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("text,label\n" + "".join(f"text {i},{'ab'[i % 2]}\n" for i in range(20)))
    given = {"labels": str(tmp_path / "labels.csv"), "registry": str(tmp_path), "class_descriptions": {"c": "sour"}}
    with pytest.raises(UsageError, match="class_descriptions: c is no class of the labels, which are a, b"):
        finetune(FinetuneSettings.model_validate(given))
