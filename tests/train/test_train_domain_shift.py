"""The test of whether documents come from the same source as the labelled texts."""

from __future__ import annotations

import numpy as np
import pytest

from tlnlp.model.combine import Floats
from tlnlp.train.domain_shift import Relevance, relevance
from tlnlp.train.tuned_constants import TUNED

HIDDEN = 48


def source(texts: int, seed: int, middle: int = 0) -> Floats:
    """Return embeddings of texts of four kinds, around a direction of the source."""
    generator = np.random.default_rng(seed)
    kinds = np.random.default_rng(99).normal(size=(4, HIDDEN))
    towards = 6.0 * np.eye(HIDDEN)[middle]
    return np.asarray(towards + kinds[generator.integers(0, 4, texts)] + generator.normal(0, 0.7, (texts, HIDDEN)))


@pytest.mark.parametrize("labels", [16, 50, 200, 1000])
@pytest.mark.parametrize("documents", [50, 256, 2000])
def test_the_result_does_not_depend_on_the_number_of_texts(labels: int, documents: int) -> None:
    figures = [relevance(source(labels, seed), source(documents, seed + 50)).further for seed in range(8)]
    assert np.mean(figures) == pytest.approx(0.5, abs=0.08)
    assert max(figures) < TUNED.foreign
    assert all(Relevance(further).same_source for further in figures)


@pytest.mark.parametrize("labels", [16, 200])
def test_another_source_is_foreign(labels: int) -> None:
    other = relevance(source(labels, 1), source(256, 2, middle=7))
    assert other.further > 0.95
    assert not other.same_source
    # Documents that are half of the same source are used.
    mixed = relevance(source(labels, 1), np.vstack([source(128, 2, middle=7), source(128, 3)]))
    assert 0.6 < mixed.further < 0.85
    assert mixed.same_source


def test_bounds_and_ties() -> None:
    east, north, both = np.eye(2)[:1], np.eye(2)[1:], np.ones((1, 2))
    labels = np.vstack([east, both])
    # The labelled texts are 45 degrees from one another; documents are at a label, between, and beyond.
    assert relevance(labels, east).further == 0.0
    assert relevance(labels, north).further == 0.5
    assert relevance(labels, -east).further == 1.0
    assert relevance(labels, np.vstack([east, north, -east, -both])).further == pytest.approx(2.5 / 4)
    assert not Relevance(TUNED.foreign).same_source


def test_the_length_of_an_embedding_does_not_matter() -> None:
    labels, documents = source(40, 1), source(60, 2)
    longer = documents * np.random.default_rng(0).uniform(0.1, 10, (60, 1))
    assert relevance(labels, longer).further == pytest.approx(relevance(labels, documents).further)
    assert np.isfinite(relevance(np.zeros((3, 4)), np.zeros((2, 4))).further)


@pytest.mark.parametrize(("labels", "documents"), [(1, 5), (0, 5), (2, 0)])
def test_too_few_cannot_be_compared(labels: int, documents: int) -> None:
    with pytest.raises(ValueError, match=f"{labels} labelled texts and {documents} documents cannot be compared"):
        relevance(source(labels, 0), source(documents, 1))
