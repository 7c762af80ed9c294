"""The test of whether documents have their words in order."""

from __future__ import annotations

import pytest
from train_kit import sentences, shuffled

from tlnlp.train.tuned_constants import TUNED
from tlnlp.train.word_order import LEAST_TEXTS, MOST_WORDS, WordOrder, word_order


@pytest.mark.parametrize("labels", [LEAST_TEXTS, 50])
@pytest.mark.parametrize("documents", [30, 500])
def test_documents_in_order_are_kept_and_others_are_not(labels: int, documents: int) -> None:
    labelled, own = sentences(labels, 1), sentences(documents, 2)
    found = word_order(labelled, own)
    assert found.is_kept
    assert found.in_documents is not None
    assert found.in_documents > 0.9
    for other in (shuffled(own), [" ".join(sorted(text.split())) for text in own]):
        assert not word_order(labelled, other).is_kept


def test_documents_may_have_no_order_where_labelled_texts_have_none() -> None:
    found = word_order(shuffled(sentences(50, 1)), shuffled(sentences(200, 2)))
    assert found.in_labels is not None
    assert found.in_labels < TUNED.word_order
    assert found.is_kept


def test_some_documents_in_order_are_enough() -> None:
    own = sentences(500, 2)
    assert word_order(sentences(30, 1), [*own[:250], *shuffled(own[250:])]).is_kept


def test_what_cannot_be_tested_is_kept() -> None:
    documents = sentences(100, 2)
    words = ["two words"] * 20
    japanese = ["\u3053\u306e\u5e97\u306f\u3068\u3066\u3082\u9759\u304b"] * 20
    for labelled in (sentences(LEAST_TEXTS - 1, 1), words, japanese):
        assert word_order(labelled, documents) == WordOrder(None, None)
    assert word_order(["ein ganz anderer kurzer Satz"] * 20, documents).in_documents is None
    assert word_order(sentences(20, 1), []).in_documents is None
    assert WordOrder(None, 1.0).is_kept
    assert WordOrder(0.5, None).is_kept


def test_case_does_not_count_and_the_start_of_a_long_text_is_enough() -> None:
    documents = sentences(200, 2)
    long = [f"{text} " * (MOST_WORDS // 8) + "unheard of " * 5_000 for text in sentences(20, 1)]
    assert word_order(long, [text.upper() for text in documents]).in_documents == 1.0


def test_the_seed_decides_the_orders_and_the_limit_is_inclusive() -> None:
    labelled, documents = sentences(20, 1), shuffled(sentences(100, 2))
    assert word_order(labelled, documents, 1) == word_order(labelled, documents, 1)
    assert word_order(labelled, documents, 1) != word_order(labelled, documents, 2)
    limit = TUNED.word_order
    kept = [
        WordOrder(*ranks).is_kept for ranks in ((limit, 1.0), (limit - 0.01, 1.0), (0.5, limit), (0.5, limit - 0.01))
    ]
    assert kept == [True, False, False, True]
