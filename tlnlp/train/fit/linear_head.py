"""The linear head of an encoder, fitted to its pooled states."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from tlnlp.model.combine import Floats, softmax
from tlnlp.train.tuned_constants import TUNED

# A class without a labelled text gets this much less bias, in nats, than the class with the least bias.
ABSENT = 3.0


class LinearHead(NamedTuple):
    """A linear head on the pooled states of an encoder.

    Attributes:
        weight: (classes, hidden), float32.
        bias: (classes,), float32.
    """

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]

    def predict(self, states: Floats) -> Floats:
        """Return probabilities (texts, classes) of pooled states (texts, hidden)."""
        return softmax(np.asarray(states, dtype=np.float64) @ self.weight.T.astype(np.float64) + self.bias)

    @staticmethod
    def of(tensors: dict[str, Any]) -> LinearHead:
        """Return the head among the tensors of a fitted model."""
        return LinearHead(np.asarray(tensors["head.weight"]), np.asarray(tensors["head.bias"]))


def unit_length(states: Floats) -> Floats:
    """Return pooled states (texts, hidden), each scaled to length 1."""
    return np.asarray(states / np.maximum(np.linalg.norm(states, axis=1, keepdims=True), 1e-12))


def with_head(weights: dict[str, torch.Tensor], head: LinearHead | None) -> dict[str, torch.Tensor]:
    """Return the tensors of a model with their head replaced; unchanged where ``head`` is None."""
    if head is None:
        return weights
    return weights | {"head.weight": torch.from_numpy(head.weight), "head.bias": torch.from_numpy(head.bias)}


def linear_head(
    states: Floats,
    labels: NDArray[np.int64],
    classes: int,
    weights: NDArray[np.float32] | None = None,
    c: float = TUNED.head_c,
    directions: Floats | None = None,
) -> LinearHead | None:
    """Fit logistic regression to pooled states (texts, hidden).

    States are centred, and scaled to a mean squared length of 1, before the fit. The states of many pretrained encoders
    (E5, for one) lie in a narrow cone far from the origin; without this, the penalty on the weights would prevent any
    separation of the texts. The returned head takes states without centring or scaling.

    Args:
        states: (texts, hidden).
        labels: class indices (texts,).
        classes: the number of classes.
        weights: the weight of each text (texts,); None weights all texts equally.
        c: the inverse strength of the penalty.
        directions: embeddings of the class names (classes, hidden). The penalty along them is lighter: with few labels
            the head follows the class names, with many labels it follows the labels.

    Returns:
        The head; None where all texts have the same class.
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
    all_weights = np.zeros((classes, hidden), dtype=np.float32)
    all_biases = np.full(classes, bias.min() - ABSENT, dtype=np.float32)
    all_weights[present], all_biases[present] = weight / scale, bias
    return LinearHead(all_weights, all_biases)


def _standardised(centred: Floats, directions: Floats | None) -> Floats:
    """Return the directions as columns (hidden, classes), scaled to a standard deviation of 1 over the texts."""
    if directions is None:
        return np.zeros((centred.shape[1], 0))
    deviation = (centred @ directions.T).std(axis=0)
    return np.asarray((directions / np.maximum(deviation, 1e-12)[:, None]).T)
