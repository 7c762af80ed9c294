"""Figures of merit on labelled texts."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlnlp.model.combine import Floats

ECE_BINS = 15


@dataclass(frozen=True)
class Evaluation:
    """``confusion``: rows are true classes, columns predicted ones; ``f1`` by class; ``ece`` in probability."""

    n: int
    accuracy: float
    macro_f1: float
    ece: float
    f1: dict[str, float]
    confusion: dict[str, dict[str, int]]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def evaluate(probabilities: Floats, targets: NDArray[np.int64], classes: tuple[str, ...]) -> Evaluation:
    """Compare probabilities (texts, classes) with class indices (texts,)."""
    predicted = probabilities.argmax(axis=1)
    counts = np.zeros((len(classes), len(classes)), dtype=np.int64)
    np.add.at(counts, (targets, predicted), 1)
    hits = np.diag(counts).astype(float)
    # A class that is neither present nor predicted has no F1; it counts as 0 in the mean, as in scikit-learn.
    f1 = 2 * hits / np.maximum(counts.sum(axis=0) + counts.sum(axis=1), 1)
    return Evaluation(
        n=len(targets),
        accuracy=float((predicted == targets).mean()),
        macro_f1=float(f1.mean()),
        ece=expected_calibration_error(probabilities, targets),
        f1={label: round(float(value), 6) for label, value in zip(classes, f1, strict=True)},
        confusion={
            label: {other: int(counts[i, j]) for j, other in enumerate(classes)} for i, label in enumerate(classes)
        },
    )


def expected_calibration_error(probabilities: Floats, targets: NDArray[np.int64], bins: int = ECE_BINS) -> float:
    """Mean gap between confidence and accuracy over equal-width bins, weighted by their texts (Guo et al. 2017)."""
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == targets
    places = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [
        abs(confidence[places == b].mean() - correct[places == b].mean()) * (places == b).mean()
        for b in range(bins)
        if (places == b).any()
    ]
    return float(sum(gaps))


def paired_standard_error(right: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """Of the difference of two shares: how many of the same texts two models get right, (texts,) each.

    Only texts on which one is right and the other wrong tell them apart (McNemar 1947).
    """
    return float(np.sqrt((right != other).sum()) / len(right))


def most_standard_error(texts: int) -> float:
    """The most that the standard error of a share of so many texts can be."""
    return float(np.sqrt(0.25 / texts))
