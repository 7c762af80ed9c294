"""The benchmark of the decision whether documents belong with labels."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import documents_gate
import harmless
import numpy as np
import pytest
from bench_kit import TINY
from draws import DATA_SETS, draw

from tlnlp.evaluate.intervals import wilson


def test_the_gate_on_documents_tries_own_and_foreign_ones(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents_gate, "OTHER", {"trec": "tiny", "tiny": "trec"})
    monkeypatch.setattr(documents_gate, "DATA_SETS", {"trec": DATA_SETS["trec"], "tiny": TINY})
    drawn = documents_gate.draws(folder)
    assert [len(one.labels.texts) for one in drawn["tiny"]] == [4] * 4
    assert not any(text.startswith("neither") for text in drawn["tiny"][0].pool)

    def letters(name: str) -> documents_gate.Embed:
        return lambda texts: np.array([[text.count(letter) for letter in "aeiouñüäß"] for text in texts], dtype=float)

    def same(labelled: Any, documents: Any) -> Any:
        assert labelled.shape[1] == documents.shape[1] == 9
        known = documents[:, 5:].sum() == 0
        return SimpleNamespace(same_source=known) if known else False

    monkeypatch.setattr(documents_gate, "word_order", lambda labelled, documents: SimpleNamespace(is_kept=True))
    found = list(documents_gate.trials(same, drawn, letters, 15))
    kinds = ["own", "another data set's", "own, words shuffled", "another language"]
    expected = [(name, seed, kind) for name in ("trec", "tiny") for seed in (11, 12, 13, 14) for kind in kinds]
    assert [(one.data, one.seed, one.documents) for one in found] == expected
    assert {one.kept for one in found if one.documents == "another language"} == {False}
    assert {one.right for one in found if one.documents in ("own", "another language")} == {True}
    assert {one.right for one in found if one.documents == "own, words shuffled"} == {False}
    monkeypatch.setattr(documents_gate, "word_order", lambda labelled, documents: SimpleNamespace(is_kept=False))
    assert not any(one.kept for one in documents_gate.trials(same, drawn, letters, 15))


def test_a_decision_is_called_by_its_import_path() -> None:
    assert documents_gate.function("tlnlp.evaluate.intervals.wilson").__name__ == wilson.__name__


def test_documents_of_another_language_differ_and_shuffled_ones_keep_their_words() -> None:
    generator = np.random.default_rng(0)
    sentences = documents_gate.another_language(500, generator)
    assert len(set(sentences)) == 500
    texts = ["one two three four five six seven", "eight nine ten eleven twelve"]
    mixed = documents_gate.shuffled(texts, generator)
    assert [sorted(text.split()) for text in mixed] == [sorted(text.split()) for text in texts]
    assert mixed != texts


def test_shuffled_documents_are_of_the_pool_and_harm_is_distinguished_from_chance(folder: Path) -> None:
    drawn = draw(TINY, 4, 11, folder, True)
    mixed = harmless.with_shuffled(drawn, 11)
    assert sorted(sorted(text.split()) for text in mixed.pool) == sorted(sorted(text.split()) for text in drawn.pool)
    assert set(mixed.pool) != set(drawn.pool)
    assert (mixed.labels, len(mixed.alone)) == (drawn.labels, len(mixed.test.texts))
    alone, one_worse, worse = np.ones(100, bool), np.arange(100) > 0, np.arange(100) > 9
    assert harmless.compared(alone, one_worse)["harmless"]
    assert harmless.compared(alone, worse) == {
        "labels_alone": 1.0, "with_shuffled": 0.9, "n": 100, "difference": -0.1, "standard_error": 0.0316,
        "harmless": False,
    }  # fmt: skip
