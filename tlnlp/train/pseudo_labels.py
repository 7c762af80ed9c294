"""Unlabelled documents, what they were told to be, and how an n-gram view learns from it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tlnlp.config import FinetuneSettings
from tlnlp.model.combine import Floats
from tlnlp.model.ngram import features_for
from tlnlp.model.tokenize import TokenIds
from tlnlp.train.dataset import Examples
from tlnlp.train.fit.ngram_fit import NgramFit

# Features scaled by log-count ratios are small, and guesses many: held tighter, the view learns too little of them.
PSEUDO_LABELS_C = 100.0


@dataclass(frozen=True)
class Documents:
    """Unlabelled documents: ``texts`` prepared; ``whole`` and ``cut`` token ids of each."""

    texts: list[str]
    whole: TokenIds
    cut: TokenIds

    def __len__(self) -> int:
        return len(self.texts)

    def first(self, count: int) -> Documents:
        return Documents(self.texts[:count], self.whole[:count], self.cut[:count])


def tokenize_documents(texts: Sequence[str], examples: Examples, settings: FinetuneSettings) -> Documents:
    """Tokenise documents: whole for learning, cut to ``teaching.read_tokens`` for reading."""
    reader = examples.reader
    prepared = reader.prepare(texts)
    cut = replace(reader.cut, max_length=min(settings.teaching.read_tokens, reader.max_length))
    return Documents(prepared, TokenIds.of(reader.whole.encode(prepared)), TokenIds.of(cut.encode(prepared)))


@dataclass(frozen=True)
class PseudoLabels:
    """What labels near them say of documents: ``texts`` prepared, ``near`` (documents, classes)."""

    texts: list[str]
    near: Floats

    def __add__(self, other: PseudoLabels) -> PseudoLabels:
        return PseudoLabels(self.texts + other.texts, np.vstack([self.near, other.near]))

    def take(self, chosen: NDArray[np.bool_]) -> PseudoLabels:
        return PseudoLabels([self.texts[i] for i in np.flatnonzero(chosen)], self.near[chosen])

    def besides(self, texts: Collection[str]) -> PseudoLabels:
        """What is told of other documents than these."""
        others = set(texts)
        return self.take(np.array([text not in others for text in self.texts], dtype=bool))


def confidence(probabilities: Floats) -> NDArray[np.float64]:
    """From 0 (even odds among the classes) to 1 (certainty), (texts,)."""
    even = 1.0 / probabilities.shape[1]
    return np.asarray((probabilities.max(axis=1) - even) / (1.0 - even))


def ngram_fit_on(told: PseudoLabels, guessed: list[str], examples: Examples, settings: FinetuneSettings) -> NgramFit:
    """To learn from what was told, and to guess the labels and more documents."""
    return NgramFit(
        told.texts,
        told.near.argmax(axis=1),
        np.maximum(confidence(told.near), 1e-3),
        [*examples.texts, *guessed],
        len(examples.classes),
        settings.seed,
        PSEUDO_LABELS_C,
        features_for(len(examples.classes)),
    )
