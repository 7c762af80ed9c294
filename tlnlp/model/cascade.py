"""Settle the texts that the n-gram view is sure of, and leave the others to the encoder.

The n-gram view's probabilities are calibrated to those of both views together. A text whose largest calibrated
probability reaches a threshold is settled: the encoder does not read it, and the calibrated probabilities are its own.
How often a settled text would have got another label from both views is tested when a version is made
(``tlnlp.evaluate.cascade_gate``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlnlp.model.combine import FLOOR, Floats, softmax


@dataclass(frozen=True)
class Cascade:
    """Hold what settles a text.

    Fields:
        factor: factor of the n-gram view's log-probabilities.
        offsets: what is added to them, by class, (classes,).
        threshold: least calibrated probability of a settled text's label.
        limit: the share of texts whose label may change, at most, as a test has shown.
    """

    factor: float
    offsets: tuple[float, ...]
    threshold: float
    limit: float

    def calibrated(self, ngram: Floats) -> Floats:
        """Return the calibrated probabilities (texts, classes) of the n-gram view's."""
        return softmax(self.factor * np.log(np.maximum(ngram, FLOOR)) + np.array(self.offsets))

    def settled(self, calibrated: Floats) -> NDArray[np.bool_]:
        """Return which texts are settled, (texts,), by their calibrated probabilities."""
        return np.asarray(calibrated.max(axis=1) >= self.threshold)

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> Cascade:
        """Return the cascade of these fields, as ``dataclasses.asdict`` gives them."""
        return Cascade(**{**values, "offsets": tuple(values["offsets"])})
