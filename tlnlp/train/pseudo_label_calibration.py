"""How far to believe what documents say: told by labels that were held out, and by how often the views disagree."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tlnlp.model.combine import (
    Floats,
    expected_error,
    pool_taught,
    sharpness_for,
    softmax,
)

# What spreading says by itself of how often it is wrong counts as so many held-out labels do.
PRIOR_LABELS = 8
# The better the texts of a class are drawn together, the surer spreading is, and no longer with reason: a taught
# encoder is taken to be wrong so many times as often as spreading was before the first round.
TAUGHT_ERROR = 0.8
# Both views of a taught model, in which error falls as disagreement does (the two figures: tests/bench/RESULTS.md).
BOTH_ERROR = 0.9
# N-grams learn from more documents in a round than where their share was measured, and are the better for it: the share
# grows by this power of how many times as many (figures: tests/bench/RESULTS.md).
SHARE_POWER = 1 / 3
# An encoder that has learned from n-grams knows much of what they know.
TAUGHT_SHARE = 0.6


@dataclass(frozen=True)
class PseudoLabelCalibration:
    """``error``: the share of documents that spreading is expected to get wrong before the first round; ``share``: of
    n-grams beside it (``pool_taught``). ``first``: of the first round, once it was, the share of documents expected
    wrong, and that on which the views disagree."""

    error: float
    share: float
    first: tuple[float, float] | None = None

    def near(self, said: Floats) -> Floats:
        """Calibrated probabilities (documents, classes) from what spreading ``said``."""
        return sharpened(said, self.error if self.first is None else TAUGHT_ERROR * self.first[0])

    def weights(self, near: Floats, ngram: Floats) -> tuple[float, float]:
        """Of the two views in one calibrated guess."""
        if self.first is None:
            return pool_taught(near, ngram, self.share)
        error, disagreed = self.first
        less = min(1.0, disagreement(near, ngram) / max(disagreed, 1e-6))
        return pool_taught(near, ngram, TAUGHT_SHARE * self.share, BOTH_ERROR * less * error)

    def among(self, times: float) -> PseudoLabelCalibration:
        """Where n-grams learn from so many times as many documents as when ``share`` was measured."""
        return replace(self, share=self.share * times**SHARE_POWER)

    def after(self, near: Floats, ngram: Floats) -> PseudoLabelCalibration:
        """Of what is said after a round that began with these guesses."""
        return self if self.first else replace(self, first=(expected_error(near), disagreement(near, ngram)))


def sharpened(said: Floats, error: float, of: Floats | None = None) -> Floats:
    """What is ``said`` (texts, classes), at the power at which so many of those texts, or of others, are wrong."""
    return softmax(sharpness_for(said if of is None else of, error) * np.log(said))


def disagreement(near: Floats, ngram: Floats) -> float:
    """The share of documents of which two views (documents, classes) say different things.

    As error, so disagreement: how often two models differ on unlabelled texts follows how often they are wrong (Jiang
    et al. 2022). Views that teach each other are wrong together, so it is the change that is read here, not the level.
    """
    return float((near.argmax(axis=1) != ngram.argmax(axis=1)).mean())


def drawn_error(wrong: NDArray[np.bool_], own: float) -> float:
    """The share of held-out labels (labels,) that are wrong, drawn towards what spreading says of ``own`` errors."""
    return float((wrong.sum() + PRIOR_LABELS * own) / (len(wrong) + PRIOR_LABELS))
