"""Metrics of predictions on labelled texts."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix, f1_score

from tlnlp.model.combine import Floats

ECE_BINS = 15


@dataclass(frozen=True)
class Evaluation:
    """The metrics of predictions on labelled texts.

    Attributes:
        n: the number of texts.
        accuracy: the share of correct predictions.
        macro_f1: the mean F1 over the classes.
        ece: the expected calibration error, a probability.
        f1: the F1 of each class.
        confusion: the number of texts by true class, then by predicted class.
    """

    n: int
    accuracy: float
    macro_f1: float
    ece: float
    f1: dict[str, float]
    confusion: dict[str, dict[str, int]]

    def to_json(self) -> dict[str, Any]:
        """Return the metrics as a dict of JSON types."""
        return asdict(self)


def evaluate(probabilities: Floats, targets: NDArray[np.int64], classes: tuple[str, ...]) -> Evaluation:
    """Compare probabilities (texts, classes) with class indices (texts,)."""
    predicted, labels = probabilities.argmax(axis=1), range(len(classes))
    counts = confusion_matrix(targets, predicted, labels=labels)
    # A class that is neither present nor predicted has no F1; it counts as 0 in the mean.
    f1 = f1_score(targets, predicted, labels=labels, average=None, zero_division=0)
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
    """Return the mean gap between confidence and accuracy over bins of equal size, weighted by their numbers of texts.

    Args:
        probabilities: (texts, classes).
        targets: class indices (texts,).
        bins: the largest number of bins.

    Source: Nguyen and O'Connor 2015 (adaptive binning), here of the predicted class alone; Nixon et al. 2019 compare
    the variants. Bins of equal width (Guo et al. 2017) put nearly all texts of a confident model into one bin, where
    gaps of opposite sign cancel out.
    """
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == targets
    inside = equal_mass_bins(confidence, bins)
    gaps = [abs(confidence[places].mean() - correct[places].mean()) * len(places) for places in inside]
    return float(sum(gaps) / len(confidence))


def equal_mass_bins(confidence: Floats, bins: int = ECE_BINS) -> list[NDArray[np.int64]]:
    """Return the positions of the texts in each non-empty bin, from the least confident bin to the most confident.

    Bins hold the same number of texts, as far as possible. Texts of equal confidence share a bin, so that the bins
    never depend on the order of the texts. With fewer texts than ``bins``, each text has a bin of its own.

    Args:
        confidence: (texts,).
        bins: the largest number of bins.
    """
    ranks = np.searchsorted(np.sort(confidence), confidence)
    numbers = ranks * bins // max(len(confidence), 1)
    return [np.flatnonzero(numbers == number) for number in np.unique(numbers)]


def paired_standard_error(right: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """Return the standard error of the difference in accuracy of two models on the same texts.

    Only texts on which exactly one of the models is correct contribute.

    Args:
        right: whether the first model is correct on each text (texts,).
        other: whether the second model is correct on each text (texts,).

    Source: McNemar 1947.
    """
    return float(np.sqrt((right != other).sum()) / len(right))


def most_standard_error(texts: int) -> float:
    """Return the largest possible standard error of a share of this many texts."""
    return float(np.sqrt(0.25 / texts))
