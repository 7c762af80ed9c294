"""The linear head over an encoder's pooled states, fitted to them as they are."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from tlnlp.model.combine import Floats, softmax

# The inverse strength of the ridge penalty on states that are a unit from their mean on average.
HEAD_C = 1.0
# A class that no text has gets this many nats less than the least likely one that some text has.
ABSENT = 3.0


class LinearHead(NamedTuple):
    """``weight`` (classes, hidden) and ``bias`` (classes,), both float32, for states as the encoder gives them."""

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]

    def predict(self, states: Floats) -> Floats:
        """Return probabilities (texts, classes) of pooled states (texts, hidden)."""
        return softmax(np.asarray(states, dtype=np.float64) @ self.weight.T.astype(np.float64) + self.bias)

    @staticmethod
    def of(tensors: dict[str, Any]) -> LinearHead:
        """Take the head out of a fitted model's tensors."""
        return LinearHead(np.asarray(tensors["head.weight"]), np.asarray(tensors["head.bias"]))


def unit_length(states: Floats) -> Floats:
    """Return pooled states (texts, hidden), each scaled to length 1."""
    return np.asarray(states / np.maximum(np.linalg.norm(states, axis=1, keepdims=True), 1e-12))


def with_head(weights: dict[str, torch.Tensor], head: LinearHead | None) -> dict[str, torch.Tensor]:
    """The tensors of an encoder, with this head."""
    if head is None:
        return weights
    return weights | {"head.weight": torch.from_numpy(head.weight), "head.bias": torch.from_numpy(head.bias)}


def linear_head(
    states: Floats,
    labels: NDArray[np.int64],
    classes: int,
    weights: NDArray[np.float32] | None = None,
    c: float = HEAD_C,
    directions: Floats | None = None,
) -> LinearHead | None:
    """Fit logistic regression to pooled states (texts, hidden); None where all texts are of one class.

    States are centred and scaled to a mean squared length of 1 first, since the states of many pretrained encoders
    (those of E5, for one) lie in a narrow cone far from the origin, where a penalty on the weights would hold all
    texts alike.

    Args:
        weights: how much each text counts (texts,); None: alike.
        c: the inverse strength of the penalty.
        directions: where class names lie, (classes, hidden): along these the penalty is lighter, so that few labels
            follow what the classes are called, and many labels need not.
    """
    present = np.unique(labels)
    if len(present) < 2:
        return None
    centre = np.average(states, axis=0, weights=weights)
    scale = float(np.sqrt(((states - centre) ** 2).sum(axis=1).mean())) or 1.0
    centred = (states - centre) / scale
    along = _standardised(centred, directions)
    probe = LogisticRegression(C=c, max_iter=2000).fit(
        np.hstack([centred, centred @ along]), labels, sample_weight=weights
    )
    hidden = states.shape[1]
    weight, bias = probe.coef_[:, :hidden] + probe.coef_[:, hidden:] @ along.T, probe.intercept_
    if len(present) == 2:
        weight, bias = np.vstack([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    bias = bias - weight @ centre / scale
    whole = np.zeros((classes, hidden), dtype=np.float32)
    offsets = np.full(classes, bias.min() - ABSENT, dtype=np.float32)
    whole[present], offsets[present] = weight / scale, bias
    return LinearHead(whole, offsets)


def _standardised(centred: Floats, directions: Floats | None) -> Floats:
    """Return the directions as columns (hidden, classes), scaled so that texts differ by 1 along each."""
    if directions is None:
        return np.zeros((centred.shape[1], 0))
    spread = (centred @ directions.T).std(axis=0)
    return np.asarray((directions / np.maximum(spread, 1e-12)[:, None]).T)
