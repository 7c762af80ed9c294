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
    """Return the mean gap between confidence and accuracy over bins of equally many texts, weighted by their texts.

    Args:
        probabilities: (texts, classes).
        targets: (texts,), class indices.
        bins: How many bins there are, at most.

    Source: Nguyen and O'Connor 2015, adaptive binning, here of the predicted class alone (Nixon et al. 2019 compare the
    kinds). Bins of equal width (Guo et al. 2017) put nearly all texts of a sure model into one, where gaps cancel out.
    """
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == targets
    inside = equal_mass_bins(confidence, bins)
    gaps = [abs(confidence[places].mean() - correct[places].mean()) * len(places) for places in inside]
    return float(sum(gaps) / len(confidence))


def equal_mass_bins(confidence: Floats, bins: int = ECE_BINS) -> list[NDArray[np.int64]]:
    """Return the positions of the texts in each bin that holds any, from the least confident bin to the most.

    Bins hold equally many texts, or as nearly as they can. Texts of equal confidence share a bin, so that bins never
    depend on the order of the texts. With fewer texts than ``bins``, each text has a bin of its own.

    Args:
        confidence: (texts,).
        bins: How many bins there are, at most.
    """
    ranks = np.searchsorted(np.sort(confidence), confidence)
    numbers = ranks * bins // max(len(confidence), 1)
    return [np.flatnonzero(numbers == number) for number in np.unique(numbers)]


def paired_standard_error(right: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """Of the difference of two shares: how many of the same texts two models get right, (texts,) each.

    Only texts on which one is right and the other wrong tell them apart (McNemar 1947).
    """
    return float(np.sqrt((right != other).sum()) / len(right))


def most_standard_error(texts: int) -> float:
    """The most that the standard error of a share of so many texts can be."""
    return float(np.sqrt(0.25 / texts))
