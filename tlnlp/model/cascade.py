"""Settle the texts that a cheap view is sure of, and leave the others to the next stage.

A cascade has two or three stages: the n-gram view; a student, if the bundle has one; and the encoder together with the
n-gram view. The probabilities of the first stages are calibrated to those of the last. A text whose largest calibrated
probability reaches a threshold is settled: the next stages do not read it, and these probabilities are its own. How
often a settled text would have got another label from the last stage is tested when a version is made
(``tlnlp.evaluate.cascade_gate``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlnlp.model.combine import FLOOR, Floats, softmax

# What has decided the label of a text, as the column ``stage`` of a table says it: both views; the n-gram view alone;
# the student with the n-gram view. In arrays, a stage is its position here.
STAGES = ENCODER, NGRAM, STUDENT = ("encoder", "ngram", "student")
Stages = NDArray[np.int8]


@dataclass(frozen=True)
class Calibration:
    """Turn the probabilities of one or more views into calibrated ones.

    Fields:
        factors: factor of each view's log-probabilities.
        offsets: what is added to their sum, by class, (classes,).
    """

    factors: tuple[float, ...]
    offsets: tuple[float, ...]

    def apply(self, *views: Floats) -> Floats:
        """Return the calibrated probabilities of texts; each view and the result are (texts, classes)."""
        logs = (np.log(np.maximum(view, FLOOR)) for view in views)
        scores = [factor * log for factor, log in zip(self.factors, logs, strict=True)]
        return softmax(np.sum(scores, axis=0) + np.array(self.offsets))


@dataclass(frozen=True)
class Cascade:
    """Hold what settles a text.

    Fields:
        factor: factor of the n-gram view's log-probabilities.
        offsets: what is added to them, by class, (classes,).
        threshold: least calibrated probability of a settled text's label, in each stage.
        limit: the share of texts whose label may change, at most, as a test has shown.
        student: how the probabilities of the student and those of the n-gram view become those of its stage; None
            without a student.
    """

    factor: float
    offsets: tuple[float, ...]
    threshold: float
    limit: float
    student: Calibration | None = None

    def calibrated(self, ngram: Floats) -> Floats:
        """Return the calibrated probabilities (texts, classes) of the n-gram view's."""
        return Calibration((self.factor,), self.offsets).apply(ngram)

    def settled(self, calibrated: Floats) -> NDArray[np.bool_]:
        """Return which texts are settled, (texts,), by their calibrated probabilities."""
        return np.asarray(calibrated.max(axis=1) >= self.threshold)

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> Cascade:
        """Return the cascade of these fields, as ``dataclasses.asdict`` gives them."""
        student = values.get("student")
        own = student and Calibration(tuple(student["factors"]), tuple(student["offsets"]))
        return Cascade(**{**values, "offsets": tuple(values["offsets"]), "student": own})
