"""Calibrated pseudo-labels: their error comes from held-out labels, later from how often the two views disagree."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tlnlp.model.calibration import expected_error, sharpness_for, unlabelled_pool_weights
from tlnlp.model.combine import Floats, softmax
from tlnlp.train.tuned_constants import TUNED


@dataclass(frozen=True)
class PseudoLabelCalibration:
    """How sharp pseudo-labels are, and how much n-grams count beside them.

    Fields:
        error: the expected error rate of label spreading before the first round.
        share: weight of n-grams as a share of the naive Bayes weight (``unlabelled_pool_weights``).
        first: expected error rate and disagreement of the views in the first round; None before that round.
    """

    error: float
    share: float
    first: tuple[float, float] | None = None

    def calibrated(self, propagated: Floats) -> Floats:
        """Return calibrated probabilities from those of label spreading, both (documents, classes)."""
        return sharpened(propagated, self.error if self.first is None else TUNED.student_error * self.first[0])

    def weights(self, propagated: Floats, ngram: Floats) -> tuple[float, float]:
        """Return the weights (encoder, ngram) of the log-linear pool of two (documents, classes) views."""
        if self.first is None:
            return unlabelled_pool_weights(propagated, ngram, self.share)
        error, disagreed = self.first
        less = min(1.0, disagreement(propagated, ngram) / max(disagreed, 1e-6))
        return unlabelled_pool_weights(
            propagated, ngram, TUNED.student_share * self.share, TUNED.combined_error * less * error
        )

    def among(self, times: float) -> PseudoLabelCalibration:
        """Return the calibration for ``times`` as many documents as ``share`` was measured with."""
        return replace(self, share=self.share * times**TUNED.share_power)

    def after(self, propagated: Floats, ngram: Floats) -> PseudoLabelCalibration:
        """Return the calibration after a round with these probabilities; only the first round changes it."""
        if self.first:
            return self
        return replace(self, first=(expected_error(propagated), disagreement(propagated, ngram)))


def sharpened(probabilities: Floats, error: float, of: Floats | None = None) -> Floats:
    """Return probabilities (texts, classes) raised to the power at which their expected error rate is ``error``.

    Args:
        of: the probabilities whose error rate counts; None: those that are sharpened.
    """
    return softmax(sharpness_for(probabilities if of is None else of, error) * np.log(probabilities))


def disagreement(propagated: Floats, ngram: Floats) -> float:
    """Return the share of documents for which two views (documents, classes) predict different classes.

    Disagreement of two models on unlabelled texts follows their error rate (Jiang et al. 2022). Views that learn from
    each other make the same errors, so this project uses changes of disagreement, not its level.
    """
    return float((propagated.argmax(axis=1) != ngram.argmax(axis=1)).mean())


def shrunken_error(wrong: NDArray[np.bool_], expected: float) -> float:
    """Return the error rate on held-out labels, ``wrong`` (labels,), shrunk towards the ``expected`` rate."""
    return float((wrong.sum() + TUNED.prior_labels * expected) / (len(wrong) + TUNED.prior_labels))
