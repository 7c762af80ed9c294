"""One fit of the n-gram view: its inputs, and the texts that it predicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tlnlp.model.combine import Floats
from tlnlp.model.ngram import FEATURES, NgramView, fit_ngram


@dataclass(frozen=True)
class NgramFit:
    """The inputs of one fit of the n-gram view.

    Attributes:
        texts: prepared training texts.
        targets: class indices of the training texts (texts,).
        weights: the weight of each training text (texts,).
        to_predict: prepared texts that ``predict`` predicts.
        classes: the number of classes.
        seed: the seed of the fit.
        c: the inverse strength of the penalty.
        features: the number of hashed n-gram features.
    """

    texts: Sequence[str]
    targets: NDArray[np.int64]
    weights: NDArray[np.float64]
    to_predict: Sequence[str]
    classes: int
    seed: int
    c: float
    features: int = FEATURES

    def learn(self) -> NgramView:
        """Fit and return the n-gram view."""
        targets = self.targets.tolist()
        return fit_ngram(self.texts, targets, self.classes, self.seed, self.features, c=self.c, weights=self.weights)

    def predict(self) -> Floats:
        """Fit the n-gram view, and return its probabilities (texts, classes) of ``to_predict``."""
        return self.learn().predict(self.to_predict)
