"""The linear head over an encoder's pooled states, fitted to them as they are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from tlnlp.model.combine import Floats


def linear_head(
    states: Floats, labels: NDArray[np.int64], classes: int, weights: NDArray[np.float32] | None = None
) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
    """Logistic regression on pooled states (texts, hidden): weight (classes, hidden) and bias; None for a single class.

    ``weights`` (texts,): how much each text counts; None: alike. A class that no text has gets weights of nothing.
    """
    present = np.unique(labels)
    if len(present) < 2:
        return None
    scale = float(np.linalg.norm(states, axis=1).mean()) or 1.0
    probe = LogisticRegression(max_iter=1000).fit(states / scale, labels, sample_weight=weights)
    weight, bias = probe.coef_, probe.intercept_
    if len(present) == 2:
        weight, bias = np.vstack([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    whole = np.zeros((classes, states.shape[1]), dtype=np.float32)
    offsets = np.full(classes, bias.min(), dtype=np.float32)
    whole[present], offsets[present] = weight / scale, bias
    return whole, offsets
