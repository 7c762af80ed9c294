"""Class names: the texts made of them, when fits learn from them, and when labels contradict them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tlnlp.config import FinetuneSettings, TrainingSettings
from tlnlp.data.label_faults import Example
from tlnlp.data.labels import LabelledSet
from tlnlp.errors import UsageError
from tlnlp.train.dataset import NO_TEXTS, Examples, Reader, class_name_texts
from tlnlp.train.finetune import finetune
from tlnlp.train.frozen_encoder import PretrainedEmbeddings, accuracy_by_names, names_contradicted
from tlnlp.train.tuned_constants import TUNED

NONE = np.zeros(0, dtype=np.int64)


def examples(folder: Path, encoder: Path, objective: str = "auto") -> tuple[Examples, FinetuneSettings]:
    settings = FinetuneSettings(
        labels="labels", encoder=str(encoder), training=TrainingSettings.model_validate({"objective": objective})
    )
    rows = tuple(Example(text, label, "f", row) for row, (text, label) in enumerate([("salt", "a"), ("sea", "b")] * 4))
    labelled = LabelledSet("labels", "", 8, rows, ("a", "b"))
    return Examples.make(labelled, Reader.make(settings, folder), {"a": "sour"}), settings


def test_texts_of_class_names() -> None:
    assert class_name_texts(("not_spam", "Sci/Tech"), {})[:2] == ["not spam", "Sci Tech"]
    assert class_name_texts(("0", "1"), {"0": "bad", "1": "good"})[:4] == [
        "bad",
        "good",
        "It is about bad.",
        "It is about good.",
    ]
    assert class_name_texts(("0", "1"), {"0": "bad"}) == class_name_texts(("1.5", "-"), {}) == []
    assert class_name_texts(("größer", "ниже"), {})[:2] == ["größer", "ниже"]


def test_with_few_labels_fits_learn_from_class_names(tmp_path: Path, tiny_encoder: Path) -> None:
    prepared, settings = examples(tmp_path, tiny_encoder)
    fit = prepared.fit(settings, np.array([0, 1, 2]), NONE, 0)
    templates = len(TUNED.class_name_templates)
    assert len(fit.tokens) == len(fit.weights) == 3 + 2 * templates
    assert fit.targets.tolist() == [[1, 0], [0, 1], [1, 0], *([[1, 0], [0, 1]] * templates)]
    names = prepared.reader.whole.encode(["sour", "b"])
    assert [ids.tolist() for ids in fit.tokens[3:5]] == [list(ids) for ids in names]
    assert len(replace(prepared, class_name_examples=NO_TEXTS).fit(settings, np.array([0, 1, 2]), NONE, 0).tokens) == 3


def test_with_many_labels_fits_ignore_class_names(tmp_path: Path, tiny_encoder: Path) -> None:
    prepared, settings = examples(tmp_path, tiny_encoder, "classify")
    assert len(prepared.fit(settings, np.array([0, 1, 2]), NONE, 0).tokens) == 3


@pytest.mark.parametrize(("swapped", "right"), [(False, 1.0), (True, 0.0)])
def test_labels_contradict_swapped_names(tmp_path: Path, tiny_encoder: Path, swapped: bool, right: float) -> None:
    prepared, _ = examples(tmp_path, tiny_encoder)
    apart = np.eye(2)[::-1] if swapped else np.eye(2)
    # All texts are closer to the second name than to the first; only differences between texts show the class.
    names = np.tile(apart + np.array([[0.0, 0.0], [0.9, 0.9]]), (len(TUNED.class_name_templates), 1))
    frozen = PretrainedEmbeddings(np.arange(8), np.eye(2)[prepared.targets], names)
    assert accuracy_by_names(frozen, prepared) == right
    assert names_contradicted(right, prepared) is swapped


def test_eight_labels_contradict_names_only_far_below_chance(tmp_path: Path, tiny_encoder: Path) -> None:
    prepared, _ = examples(tmp_path, tiny_encoder)
    assert not names_contradicted(0.375, prepared)
    assert names_contradicted(0.25, prepared)


def test_a_description_of_an_unknown_class_is_refused(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("text,label\n" + "".join(f"text {i},{'ab'[i % 2]}\n" for i in range(20)))
    given = {"labels": str(tmp_path / "labels.csv"), "registry": str(tmp_path), "class_descriptions": {"c": "sour"}}
    with pytest.raises(UsageError, match="class_descriptions: c is no class of the labels, which are a, b"):
        finetune(FinetuneSettings.model_validate(given))
