"""Unlabelled documents, their pseudo-labels, and the n-gram fit that learns from these."""

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
from tlnlp.train.tuned_constants import TUNED


@dataclass(frozen=True)
class Documents:
    """Tokenised unlabelled documents.

    Fields:
        texts: the prepared texts.
        whole: token ids of whole texts, which training takes windows from.
        cut: token ids of texts cut to the length at which they are embedded.
    """

    texts: list[str]
    whole: TokenIds
    cut: TokenIds

    def __len__(self) -> int:
        return len(self.texts)

    def first(self, count: int) -> Documents:
        """Return the first documents."""
        return Documents(self.texts[:count], self.whole[:count], self.cut[:count])


def tokenize_documents(texts: Sequence[str], examples: Examples, settings: FinetuneSettings) -> Documents:
    """Tokenise documents: whole for training, and cut to ``teaching.read_tokens`` for embedding."""
    reader = examples.reader
    prepared = reader.prepare(texts)
    cut = replace(reader.cut, max_length=min(settings.teaching.read_tokens, reader.max_length))
    return Documents(prepared, TokenIds.of(reader.whole.encode(prepared)), TokenIds.of(cut.encode(prepared)))


@dataclass(frozen=True)
class PseudoLabels:
    """Pseudo-labels of documents: prepared ``texts``, and their ``probabilities`` (documents, classes)."""

    texts: list[str]
    probabilities: Floats

    def __add__(self, other: PseudoLabels) -> PseudoLabels:
        return PseudoLabels(self.texts + other.texts, np.vstack([self.probabilities, other.probabilities]))

    def take(self, chosen: NDArray[np.bool_]) -> PseudoLabels:
        """Return the documents where ``chosen`` (documents,) is true."""
        return PseudoLabels([self.texts[i] for i in np.flatnonzero(chosen)], self.probabilities[chosen])

    def without(self, texts: Collection[str]) -> PseudoLabels:
        """Return all documents except those with these texts."""
        removed = set(texts)
        return self.take(np.array([text not in removed for text in self.texts], dtype=bool))


def confidence(probabilities: Floats) -> NDArray[np.float64]:
    """Return the confidence of each text (texts,): 0 at equal probabilities of all classes, 1 at certainty."""
    even = 1.0 / probabilities.shape[1]
    return np.asarray((probabilities.max(axis=1) - even) / (1.0 - even))


def ngram_fit_on(
    pseudo_labels: PseudoLabels, predicted: list[str], examples: Examples, settings: FinetuneSettings
) -> NgramFit:
    """Return the fit of an n-gram view to pseudo-labels, which predicts the labelled texts and then ``predicted``."""
    return NgramFit(
        pseudo_labels.texts,
        pseudo_labels.probabilities.argmax(axis=1),
        np.maximum(confidence(pseudo_labels.probabilities), 1e-3),
        [*examples.texts, *predicted],
        len(examples.classes),
        settings.seed,
        TUNED.pseudo_labels_c,
        features_for(len(examples.classes)),
    )
