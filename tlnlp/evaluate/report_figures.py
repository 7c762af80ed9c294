"""Compute the figures of a report from held-out labels: the ``report`` of a bundle's ``training.json``.

All figures come from out-of-fold probabilities: a labelled text is predicted by a model that was not trained on it.
Intervals have 95% confidence. They cover the choice of the texts; only that of the learning curve allows for other
training labels too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_fscore_support

from tlnlp.evaluate.intervals import macro_f1_interval, paired_interval, wilson
from tlnlp.evaluate.learning_curve import CurvePoint, learning_curve
from tlnlp.evaluate.metrics import ECE_BINS, equal_mass_bins, evaluate, expected_calibration_error
from tlnlp.evaluate.suspected_labels import FALSE_ALARM_SHARE, LabelPlace, suspected_labels
from tlnlp.model.combine import Floats

Ints = NDArray[np.int64]
Hits = NDArray[np.bool_]


@dataclass(frozen=True)
class HeldOut:
    """The labels that were held out in a cross-validation, and what was predicted of them.

    Attributes:
        classes: the class labels, in the order of the columns of all probabilities.
        targets: class indices of the labels (texts,).
        places: where each label stands (texts,).
        before: out-of-fold probabilities before calibration (texts, classes).
        after: the same after calibration; their largest gives the predicted class.
        baselines: out-of-fold probabilities (texts, classes) of simpler models, by name.
        curve: the learning curve of the model.
    """

    classes: tuple[str, ...]
    targets: Ints
    places: Sequence[LabelPlace]
    before: Floats
    after: Floats
    baselines: Mapping[str, Floats] = field(default_factory=dict)
    curve: Sequence[CurvePoint] = ()

    def __post_init__(self) -> None:
        """Check the shapes. Raises ValueError: there are no texts, or shapes do not match."""
        if len(self.places) != len(self.targets):
            raise ValueError(f"places has {len(self.places)} entries for {len(self.targets)} texts")
        expected = (len(self.targets), len(self.classes))
        for probabilities in (self.before, self.after, *self.baselines.values()):
            if not expected[0] or probabilities.shape != expected:
                raise ValueError(
                    f"probabilities have shape {probabilities.shape}, expected {expected} and at least one text"
                )

    @property
    def right(self) -> Hits:
        """Return whether each text is predicted correctly (texts,)."""
        return np.asarray(self.after.argmax(axis=1) == self.targets)


def findings(held: HeldOut, seed: int) -> dict[str, Any]:
    """Return all figures of a report in JSON types, without NaN and without document text.

    Args:
        held: the held-out labels and their predictions.
        seed: the seed of the intervals that are drawn.
    """
    figures = {
        "cross_validation": cross_validation(held.after, held.targets, held.classes, seed),
        "calibration": calibration(held.before, held.after, held.targets),
        "baselines": {name: _compare_baseline(held, held.baselines[name]) for name in sorted(held.baselines)},
        "learning_curve": learning_curve(held.curve, len(held.targets), seed),
        "suspected_faults": suspected_labels(held.after, held.targets, held.classes, held.places),
        "false_alarm_share": FALSE_ALARM_SHARE,
    }
    return dict(_to_json_types(figures))


def cross_validation(probabilities: Floats, targets: Ints, classes: tuple[str, ...], seed: int) -> dict[str, Any]:
    """Return accuracy and macro-F1 with intervals, the figures of each class, and the confusion matrix.

    An undefined figure is NaN: the precision of a class that is never predicted, and the recall of a class that no
    text has.
    """
    figures, predicted = evaluate(probabilities, targets, classes), probabilities.argmax(axis=1)
    by_class = precision_recall_fscore_support(targets, predicted, labels=range(len(classes)), zero_division=np.nan)
    return {
        "n": figures.n,
        "accuracy": figures.accuracy,
        "accuracy_interval": wilson(int((predicted == targets).sum()), figures.n),
        "macro_f1": figures.macro_f1,
        "macro_f1_interval": macro_f1_interval(predicted, targets, len(classes), seed),
        "per_class": {
            label: dict(zip(("precision", "recall", "f1", "n"), values, strict=True))
            for label, *values in zip(classes, *by_class, strict=True)
        },
        "confusion": figures.confusion,
    }


def calibration(before: Floats, after: Floats, targets: Ints) -> dict[str, Any]:
    """Return the expected calibration error before and after calibration, and the bins behind it."""
    return {
        "ece_before": expected_calibration_error(before, targets),
        "ece_after": expected_calibration_error(after, targets),
        "bins_before": reliability(before, targets),
        "bins_after": reliability(after, targets),
    }


def reliability(probabilities: Floats, targets: Ints, bins: int = ECE_BINS) -> list[dict[str, Any]]:
    """Return mean confidence, accuracy and size of each bin of the expected calibration error."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == targets
    return [
        {"confidence": confidence[inside].mean(), "accuracy": right[inside].mean(), "n": len(inside)}
        for inside in equal_mass_bins(confidence, bins)
    ]


def _compare_baseline(held: HeldOut, probabilities: Floats) -> dict[str, Any]:
    """Return the figures of a baseline, and the accuracy of the model minus its accuracy.

    The ``verdict`` on the model is ``better`` or ``worse`` only where the interval of the difference excludes 0, and
    ``undecided`` where it does not.
    """
    figures = evaluate(probabilities, held.targets, held.classes)
    baseline_right = probabilities.argmax(axis=1) == held.targets
    difference, low, high = paired_interval(held.right, baseline_right)
    return {
        "accuracy": figures.accuracy,
        "accuracy_interval": wilson(int(baseline_right.sum()), figures.n),
        "macro_f1": figures.macro_f1,
        "verdict": "better" if low > 0 else "worse" if high < 0 else "undecided",
        "difference": difference,
        "difference_interval": (low, high),
    }


def _to_json_types(value: Any) -> Any:
    """Convert a value to JSON types. Numbers are rounded to 6 decimals; None replaces numbers that are not finite."""
    if isinstance(value, Mapping):
        return {str(key): _to_json_types(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_to_json_types(inner) for inner in value]
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return round(float(value), 6) if math.isfinite(value) else None
    return value
