"""Word order: a test of whether unlabelled documents have their words in an order, as the labelled texts have.

Documents that were exported as bags of words, or whose words were sorted or shuffled, look like the labelled texts in
the space of an encoder. But what a model learns from them can make it worse.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, pairwise

import numpy as np

from tlnlp.train.tuned_constants import TUNED

# Documents that the test uses.
SAMPLED_DOCUMENTS = 500
# Orders that each labelled text is compared with, the fewest words of a text, the fewest and the most labelled texts.
ORDERS, LEAST_WORDS, LEAST_TEXTS, MOST_TEXTS = 20, 4, 8, 200
# The first words of a long text are enough.
MOST_WORDS = 300

Pair = tuple[str, str]


@dataclass(frozen=True)
class WordOrder:
    """The result of the test: how labelled texts rank among random orders of their own words, as means over the texts.

    Fields:
        in_documents: by the pairs of neighbouring words that the documents have; 1: the documents have the same order
            of words, 0.5: they have none.
        in_labels: by the pairs that the other labelled texts have; 0.5: the labelled texts have no order either.

    Both are None where too few texts can be ranked.
    """

    in_documents: float | None
    in_labels: float | None

    @property
    def is_kept(self) -> bool:
        """Return False if the labelled texts have an order of words and the documents have not."""
        if self.in_documents is None or self.in_labels is None:
            return True
        return self.in_labels < TUNED.word_order or self.in_documents >= TUNED.word_order


def word_order(labelled: Sequence[str], documents: Sequence[str], seed: int = 0) -> WordOrder:
    """Rank each labelled text among random orders of its words, by pairs of neighbouring words.

    It is a permutation test (Fisher 1935). Its statistic is the sum, over neighbouring words, of the logarithm of how
    many texts have this pair, less that of the pair turned round. So words that merely occur together do not count.
    """
    generator = np.random.default_rng((seed, 6))
    texts = [labelled[place] for place in generator.permutation(len(labelled))[:MOST_TEXTS]]
    own = [_pairs(text) for text in texts]
    of_labels, of_documents = (Counter(chain.from_iterable(each)) for each in (own, map(_pairs, documents)))
    nothing = [set[Pair]()] * len(texts)
    return WordOrder(_mean_rank(texts, of_documents, nothing, generator), _mean_rank(texts, of_labels, own, generator))


def _words(text: str) -> list[str]:
    return text.lower().split()[:MOST_WORDS]


def _pairs(text: str) -> set[Pair]:
    return set(pairwise(_words(text)))


def _mean_rank(
    texts: Sequence[str], counts: Counter[Pair], own: Sequence[set[Pair]], generator: np.random.Generator
) -> float | None:
    """Return the mean rank by ``counts``, of which the pairs of a text itself (``own``) are taken away."""
    ranks = []
    for text, less in zip(texts, own, strict=True):
        words = _words(text)
        if len(words) < LEAST_WORDS:
            continue
        score = _score(words, counts, less)
        orders = (generator.permutation(len(words)) for _ in range(ORDERS))
        others = np.array([_score([words[place] for place in order], counts, less) for order in orders])
        if score or others.any():
            ranks.append(float((others < score).mean() + (others == score).mean() / 2))
    return float(np.mean(ranks)) if len(ranks) >= LEAST_TEXTS else None


def _score(words: Sequence[str], counts: Counter[Pair], less: set[Pair]) -> float:
    def known(pair: Pair) -> float:
        return math.log1p(counts[pair] - (pair in less))

    return sum(known(pair) - known(pair[::-1]) for pair in pairwise(words))
