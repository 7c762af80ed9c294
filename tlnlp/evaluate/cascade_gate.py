"""Fit a cascade, and test on documents that no view has learned from how often it decides otherwise than both views.

The test is exact and holds for any model and any number of documents: with 95% confidence, the share of documents whose
label the cascade changes is at most the limit.

Source: Learn then Test (Angelopoulos et al. 2021), by fixed-sequence testing with exact binomial tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.stats import binom

from tlnlp.evaluate.engine_gate import upper_limit
from tlnlp.evaluate.intervals import CONFIDENCE
from tlnlp.model.cascade import Calibration, Cascade
from tlnlp.model.combine import FLOOR, Floats, softmax

# Share of the documents that calibrate and propose thresholds; the others test them.
FIT_SHARE = 0.25
# Shares of settled documents whose thresholds are tested, in this order. Small steps cost nothing: a larger share
# changes at least as many labels, so the sequence ends at the same number of them.
SHARES = np.round(np.arange(0.05, 1.0, 0.01), 2)
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
        student_share: share of them that the student settles.
        changed: number of tested documents whose label changes.
        bound: upper limit of their share with 95% confidence (Clopper and Pearson 1934).
        expected_accuracy_cost: expected loss of accuracy, if the probabilities of both views are calibrated.
    """

    limit: float
    documents: int
    tested: int
    settled_share: float
    student_share: float
    changed: int
    bound: float
    expected_accuracy_cost: float

    def to_json(self) -> dict[str, Any]:
        """Return the fields by name."""
        return asdict(self)


def fit_cascade(
    ngram: Floats, both: Floats, limit: float, student: Floats | None = None
) -> tuple[Cascade, CascadeTest] | None:
    """Return the cascade that settles most documents within the limit, and its test; None if none passes.

    Args:
        ngram: probabilities (documents, classes) of the n-gram view on documents in random order, which no view has
            learned from.
        both: probabilities of both views together on the same documents.
        limit: largest allowed share of documents whose label changes.
        student: probabilities of the student on the same documents; None for a cascade without a student.
    """
    fitted = int(len(ngram) * FIT_SHARE)
    if fitted == 0:
        return None
    asked = (ngram,) if student is None else (ngram, student)
    proposed = _calibrated_cascade([view[:fitted] for view in asked], both[:fitted], limit)
    fit, test = (
        _Outcome.of(proposed, [view[part] for view in asked], both[part])
        for part in (slice(fitted), slice(fitted, None))
    )
    confidence = np.sort(fit.confidence)
    passed: float | None = None
    for share in SHARES:
        threshold = float(confidence[min(fitted - 1, round(fitted * (1 - share)))])
        changed = int(test.changed(threshold).sum())
        # The hypothesis is that the share of changed labels is over the limit. The first that stands ends the sequence.
        if binom.cdf(changed, len(both) - fitted, limit) > 1 - CONFIDENCE:
            break
        passed = threshold
    if passed is None:
        return None
    found = _tested(test, passed, limit, fitted)
    if found.settled_share + found.student_share < LEAST_SHARE:
        return None
    return replace(proposed, threshold=passed), found


def _calibrated_cascade(asked: Sequence[Floats], both: Floats, limit: float) -> Cascade:
    """Return the cascade whose stages are calibrated to both views; its threshold settles nothing yet.

    Args:
        asked: probabilities (documents, classes) of the n-gram view and, if there is one, of the student.
    """
    own = _calibrate(asked[:1], both)
    beside = _calibrate(asked[::-1], both) if len(asked) == 2 else None
    return Cascade(own.factors[0], own.offsets, 1.0, limit, beside)


@dataclass(frozen=True)
class _Outcome:
    """What a cascade makes of documents, at any threshold.

    Fields:
        stages: calibrated probabilities (documents, classes) of each stage before the last.
        full: probabilities of both views.
    """

    stages: tuple[Floats, ...]
    full: Floats

    @staticmethod
    def of(cascade: Cascade, asked: Sequence[Floats], both: Floats) -> _Outcome:
        """Return what a cascade makes of documents, from the probabilities of what it asks, as it proposes them."""
        first = cascade.calibrated(asked[0])
        if cascade.student is None:
            return _Outcome((first,), both)
        return _Outcome((first, cascade.student.apply(asked[1], asked[0])), both)

    @property
    def confidence(self) -> Floats:
        """Return the threshold at which each document is just settled, by one of the stages, (documents,)."""
        return np.asarray(np.max([stage.max(axis=1) for stage in self.stages], axis=0))

    def settled_by(self, threshold: float) -> NDArray[np.intp]:
        """Return the stage that settles each document, (documents,); the number of stages if none does."""
        sure = np.array([stage.max(axis=1) >= threshold for stage in self.stages])
        return np.where(sure.any(axis=0), sure.argmax(axis=0), len(self.stages))

    def labels(self, threshold: float) -> NDArray[np.intp]:
        """Return the label of each document, (documents,), as a class index."""
        candidates = np.array([probabilities.argmax(axis=1) for probabilities in (*self.stages, self.full)])
        return np.asarray(candidates[self.settled_by(threshold), np.arange(len(self.full))])

    def changed(self, threshold: float) -> NDArray[np.bool_]:
        """Return which documents have another label than from both views, (documents,)."""
        return np.asarray(self.labels(threshold) != self.full.argmax(axis=1))


def _tested(outcome: _Outcome, threshold: float, limit: float, fitted: int) -> CascadeTest:
    stage, rows, full = outcome.settled_by(threshold), np.arange(len(outcome.full)), outcome.full
    changed = int(outcome.changed(threshold).sum())
    # Where the labels differ, both views are right more often by the difference of their probabilities for the two.
    cost = full[rows, full.argmax(axis=1)] - full[rows, outcome.labels(threshold)]
    return CascadeTest(
        limit=limit,
        documents=fitted,
        tested=len(full),
        settled_share=float((stage == 0).mean()),
        student_share=float(((stage == 1) & (len(outcome.stages) == 2)).mean()),
        changed=changed,
        bound=upper_limit(changed, len(full)),
        expected_accuracy_cost=float(cost.mean()),
    )


def _calibrate(views: Sequence[Floats], both: Floats) -> Calibration:
    """Return the calibration that brings the probabilities of some views nearest to those of both views.

    Source: vector scaling (Guo et al. 2017) with one factor for all classes of a view; it minimises the cross-entropy.
    """
    logs = np.array([np.log(np.maximum(view, FLOOR)) for view in views])
    count, classes = len(views), both.shape[1]

    def cost(values: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """Return the penalised cross-entropy of the factors' logarithms and of the offsets, and its gradient."""
        factors, offsets = np.exp(values[:count]), values[count:]
        found = softmax(np.tensordot(factors, logs, axes=1) + offsets)
        residual = found - both
        loss = -(both * np.log(np.maximum(found, FLOOR))).sum() + SHRINKAGE * (values**2).sum()
        by_factor = (residual * logs).sum(axis=(1, 2)) * factors
        return float(loss), np.append(by_factor, residual.sum(axis=0)) + 2 * SHRINKAGE * values

    found = minimize(cost, np.zeros(count + classes), jac=True, method="L-BFGS-B").x
    factors, offsets = np.exp(found[:count]), found[count:]
    return Calibration(tuple(float(value) for value in factors), tuple(float(value) for value in offsets))
