"""Combine the probabilities of the two views: a weighted sum of log-probabilities, then softmax.

The rule is a logarithmic opinion pool (Genest and Zidek 1986). ``calibration`` fits its weights.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
# Smallest probability whose logarithm is taken.
FLOOR = 1e-7


def softmax(scores: Floats) -> Floats:
    """Return the softmax of scores along the last axis, in float64."""
    shifted = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True), dtype=np.float64)


def combine(encoder: Floats, ngram: Floats, encoder_weight: float, ngram_weight: float) -> Floats:
    """Return the combined probabilities (texts, classes) of two views, both (texts, classes)."""
    scores = encoder_weight * np.log(np.maximum(encoder, FLOOR)) + ngram_weight * np.log(np.maximum(ngram, FLOOR))
    return softmax(scores)
