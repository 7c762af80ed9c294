"""Fit a cascade, and test on documents that no view has learned from how often it decides otherwise than both views.

The test is exact and holds for any model and any number of documents: with 95% confidence, the share of documents whose
label the cascade changes is at most the limit.

Source: Learn then Test (Angelopoulos et al. 2021), by fixed-sequence testing with exact binomial tests.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.stats import binom

from tlnlp.evaluate.engine_gate import upper_limit
from tlnlp.evaluate.intervals import CONFIDENCE
from tlnlp.model.cascade import Cascade
from tlnlp.model.combine import FLOOR, Floats, softmax

# Share of the documents that calibrate and propose thresholds; the others test them.
FIT_SHARE = 1 / 3
# Shares of settled documents whose thresholds are tested, in this order.
SHARES = np.round(np.arange(0.05, 1.0, 0.05), 2)
# Penalty on the calibration, in nats: a few documents cannot tell a factor of 5 from one of 6.
SHRINKAGE = 1.0
# A cascade that settles less than this does not pay for itself.
LEAST_SHARE = 0.1


@dataclass(frozen=True)
class CascadeTest:
    """Hold what the test has shown of the chosen threshold.

    Fields:
        limit: most documents that may get another label, as a share.
        documents: number of documents that calibrated the cascade and proposed thresholds.
        tested: number of documents of the test.
        settled_share: share of the tested documents that the n-gram view settles.
        changed: number of tested documents whose label changes.
        bound: upper limit of their share with 95% confidence (Clopper and Pearson 1934).
        expected_accuracy_cost: expected loss of accuracy, if the probabilities of both views are calibrated.
    """

    limit: float
    documents: int
    tested: int
    settled_share: float
    changed: int
    bound: float
    expected_accuracy_cost: float

    def to_json(self) -> dict[str, Any]:
        """Return the fields by name."""
        return asdict(self)


def fit_cascade(ngram: Floats, both: Floats, limit: float) -> tuple[Cascade, CascadeTest] | None:
    """Return the cascade that settles most documents within the limit, and its test; None if none passes.

    Args:
        ngram: probabilities (documents, classes) of the n-gram view on documents in random order, which no view has
            learned from.
        both: probabilities of both views together on the same documents.
        limit: largest allowed share of documents whose label changes.
    """
    fitted = int(len(ngram) * FIT_SHARE)
    if fitted == 0:
        return None
    factor, offsets = _calibrate(ngram[:fitted], both[:fitted])
    cascade = Cascade(factor, offsets, 1.0, limit)
    confidence = np.sort(cascade.calibrated(ngram[:fitted]).max(axis=1))
    calibrated, full = cascade.calibrated(ngram[fitted:]), both[fitted:]
    differs = calibrated.argmax(axis=1) != full.argmax(axis=1)
    passed: Cascade | None = None
    for share in SHARES:
        threshold = float(confidence[min(fitted - 1, round(fitted * (1 - share)))])
        candidate = Cascade(factor, offsets, threshold, limit)
        changed = int((candidate.settled(calibrated) & differs).sum())
        # The hypothesis is that the share of changed labels is over the limit. The first that stands ends the sequence.
        if binom.cdf(changed, len(differs), limit) > 1 - CONFIDENCE:
            break
        passed = candidate
    if passed is None:
        return None
    tested = _tested(passed, calibrated, full, fitted)
    return (passed, tested) if tested.settled_share >= LEAST_SHARE else None


def _tested(cascade: Cascade, calibrated: Floats, full: Floats, fitted: int) -> CascadeTest:
    settled = cascade.settled(calibrated)
    own, theirs, rows = calibrated.argmax(axis=1), full.argmax(axis=1), np.arange(len(full))
    changed = int((settled & (own != theirs)).sum())
    # Where the labels differ, both views are right more often by the difference of their probabilities for the two.
    cost = np.where(settled, full[rows, theirs] - full[rows, own], 0.0)
    return CascadeTest(
        limit=cascade.limit,
        documents=fitted,
        tested=len(full),
        settled_share=float(settled.mean()),
        changed=changed,
        bound=upper_limit(changed, len(full)),
        expected_accuracy_cost=float(cost.mean()),
    )


def _calibrate(ngram: Floats, both: Floats) -> tuple[float, tuple[float, ...]]:
    """Return the factor and the offsets that bring the n-gram view's probabilities nearest to those of both views.

    Source: vector scaling (Guo et al. 2017) with one factor for all classes; it minimises the cross-entropy.
    """
    logs, classes = np.log(np.maximum(ngram, FLOOR)), ngram.shape[1]

    def cost(values: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        factor, offsets = np.exp(values[0]), values[1:]
        found = softmax(factor * logs + offsets)
        residual = found - both
        loss = -(both * np.log(np.maximum(found, FLOOR))).sum() + SHRINKAGE * (values**2).sum()
        gradient = np.append((residual * logs).sum() * factor, residual.sum(axis=0)) + 2 * SHRINKAGE * values
        return float(loss), gradient

    found = minimize(cost, np.zeros(classes + 1), jac=True, method="L-BFGS-B")
    return float(np.exp(found.x[0])), tuple(float(value) for value in found.x[1:])
