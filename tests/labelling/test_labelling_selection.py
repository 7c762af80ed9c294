"""Which documents are chosen, and in which order."""

from __future__ import annotations

import kit
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlnlp.labelling.selection import (
    DOUBT,
    NOVEL,
    RANDOM,
    RARE_CLASS,
    REASONS,
    VIEWS_DISAGREE,
    Candidates,
    choose,
    disagreement,
    few_labels,
    margin_doubt,
)
from tlnlp.labelling.signals import novelty
from tlnlp.model.ngram import ngram_features


def candidates(texts: list[str], drawn: int = 0, classes: int = 2, seed: int = 0) -> Candidates:
    """Return candidates with random probabilities; the first ``drawn`` are drawn at random."""
    generator = np.random.default_rng(seed)
    one, other = (generator.dirichlet(np.ones(classes), len(texts)) for _ in range(2))
    signals = {DOUBT: margin_doubt(one), VIEWS_DISAGREE: disagreement(one, other), NOVEL: generator.random(len(texts))}
    return Candidates(range(drawn), one, signals, ngram_features(texts))


def test_signals_by_hand() -> None:
    assert margin_doubt(np.array([[0.5, 0.5], [0.9, 0.1], [0.2, 0.8]])).tolist() == pytest.approx([1.0, 0.2, 0.4])
    assert disagreement(np.array([[1.0, 0.0], [0.6, 0.4]]), np.array([[0.0, 1.0], [0.6, 0.4]])).tolist() == [1.0, 0.0]
    known = ngram_features(["warm bread"])
    found = novelty(ngram_features(["warm bread", "cold ferry", "warm ferry"]), known)
    assert found[0] == pytest.approx(0.0, abs=1e-6)
    assert found[1] == 1.0
    assert 0.0 < found[2] < 1.0
    assert few_labels({"a": 10, "b": 10, "c": 1}, ("a", "b", "c", "d")) == [2, 3]
    assert few_labels({}, ("a", "b")) == []


def test_the_random_share_is_the_beginning_of_the_draw() -> None:
    found = choose(candidates(kit.texts(100), drawn=50), 20, 0.25)
    assert len(found) == 20
    assert [one.position for one in found if one.why == RANDOM] == [0, 1, 2, 3, 4]
    # The reasons are mixed: the first half of the queue has half of each.
    assert 2 <= sum(one.why == RANDOM for one in found[:10]) <= 3


def test_the_rest_are_those_that_the_signals_rank_first() -> None:
    given = candidates(kit.texts(60))
    doubtful = Candidates((), given.probabilities, {DOUBT: given.signals[DOUBT]}, given.ngrams)
    found = [one.position for one in choose(doubtful, 10, 0.0)]
    assert found == np.argsort(-given.signals[DOUBT], kind="stable")[:10].tolist()
    assert {one.why for one in choose(given, 20, 0.0)} <= set(REASONS)
    assert len({one.why for one in choose(given, 30, 0.0)}) > 1


def test_of_near_duplicates_one_is_asked() -> None:
    texts = kit.texts(10)
    copies = [text + " ." for text in texts]
    found = choose(candidates([*texts, *copies]), 20, 0.0)
    assert len(found) == 10
    assert all(abs(one.position - one.duplicates[0]) == 10 and len(one.duplicates) == 1 for one in found)


def test_random_documents_are_asked_even_if_they_are_alike() -> None:
    texts = ["the same text again and again"] * 6
    found = choose(candidates(texts, drawn=6), 6, 1.0)
    assert sorted(one.position for one in found) == list(range(6))
    assert all(one.duplicates == () for one in found)


def test_classes_that_lack_labels_get_places() -> None:
    given = candidates(kit.texts(100), classes=4)
    found = choose(given, 20, 0.0, lacking=[2, 3])
    rare = [one.position for one in found if one.why == RARE_CLASS]
    assert len(rare) == 4
    for place in (2, 3):
        assert set(np.argsort(-given.probabilities[:, place])[:1]) <= set(rare)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 60), st.integers(1, 80), st.floats(0, 1), st.integers(0, 30), st.booleans())
def test_each_document_is_chosen_once(count: int, size: int, share: float, drawn: int, is_lacking: bool) -> None:
    given = candidates(kit.texts(count), drawn=min(drawn, count), classes=3, seed=count)
    found = choose(given, size, share, [1] if is_lacking else [])
    assert len(found) <= size
    assert len({one.position for one in found}) == len(found)
    if not share:
        asked = [place for one in found for place in (one.position, *one.duplicates)]
        assert len(asked) == len(set(asked))
