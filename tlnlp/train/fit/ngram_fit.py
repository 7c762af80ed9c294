"""One fit of the n-gram view: what it learns from, and what it then predicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tlnlp.model.combine import Floats
from tlnlp.model.ngram import FEATURES, NgramView, fit_ngram


@dataclass(frozen=True)
class NgramFit:
    """One fit of the n-gram view: prepared texts, class indices and weights to learn from, and texts to guess."""

    texts: Sequence[str]
    targets: NDArray[np.int64]
    weights: NDArray[np.float64]
    guessed: Sequence[str]
    classes: int
    seed: int
    c: float
    features: int = FEATURES

    def learn(self) -> NgramView:
        """Fit the n-gram view."""
        targets = self.targets.tolist()
        return fit_ngram(self.texts, targets, self.classes, self.seed, self.features, c=self.c, weights=self.weights)

    def predict(self) -> Floats:
        """Fit the n-gram view, and return its probabilities (texts, classes) of ``guessed``."""
        return self.learn().predict(self.guessed)
