"""One rule from the two views to a probability: a weighted sum of log-probabilities, then softmax.

A logarithmic opinion pool (Genest and Zidek 1986). With one view the rule is temperature scaling (Guo et al. 2017), so
calibration and combination are the same two numbers, fitted once on texts that neither view was trained on.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
FLOOR = 1e-7
ENCODER_WEIGHTS = np.round(np.geomspace(0.1, 5.0, 52), 4)
POWERS = np.geomspace(0.02, 10.0, 400)
SHARES = np.round(np.geomspace(0.25, 4.0, 17), 3)
# What a share of the n-grams far from 1 costs, in nats per squared logarithm: three times as much is nothing odd.
SHARE_SHRINKAGE = 0.5
# What weights far from 1 cost, in nats in all per squared unit: a few dozen texts cannot tell near-equal ones apart.
SHRINKAGE = 2.0
NGRAM_WEIGHTS = np.round(np.linspace(0.0, 2.0, 41), 4)


def softmax(scores: Floats) -> Floats:
    """Along the last axis, in float64."""
    shifted = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True), dtype=np.float64)


def combine(encoder: Floats, ngram: Floats, encoder_weight: float, ngram_weight: float) -> Floats:
    """Final probabilities (texts, classes) from those of each view (texts, classes)."""
    scores = encoder_weight * np.log(np.maximum(encoder, FLOOR)) + ngram_weight * np.log(np.maximum(ngram, FLOOR))
    return softmax(scores)


def log_loss(probabilities: Floats, truth: Floats) -> float:
    """In nats a text, of texts that are of a class with a probability; both (texts, classes)."""
    return float(-(truth * np.log(np.maximum(probabilities, FLOOR))).sum(axis=1).mean())


def fit_sharpness(probabilities: Floats, truth: Floats, shrinkage: float = 0.0) -> tuple[float, float]:
    """The power of probabilities that is nearest to a truth told in probabilities, and its cost in nats in all.

    Temperature scaling; both (texts, classes). ``shrinkage`` draws it towards 1 as it does the weights of
    ``fit_weights``.
    """
    logs = np.log(np.maximum(probabilities, FLOOR))
    cost, power = min(
        (len(truth) * log_loss(softmax(power * logs), truth) + shrinkage * np.log(power) ** 2, power)
        for power in ENCODER_WEIGHTS.tolist()
    )
    return power, float(cost)


def expected_error(probabilities: Floats) -> float:
    """The share of texts (texts, classes) that are wrong if their probabilities are right."""
    return float(1.0 - probabilities.max(axis=1).mean())


def sharpness_for(probabilities: Floats, error: float) -> float:
    """The power of probabilities (texts, classes) at which so large a share is expected to be wrong."""
    logs = np.log(np.maximum(probabilities, FLOOR))
    errors = np.array([expected_error(softmax(power * logs)) for power in POWERS])
    return float(POWERS[int(np.argmin(np.abs(errors - error)))])


def pool_taught(near: Floats, ngram: Floats, share: float = 1.0, error: float | None = None) -> tuple[float, float]:
    """Weights of calibrated probabilities and of an n-gram view that learned from them, by documents without labels.

    Were the two wrong independently of one another, the n-gram view's log-probabilities would count in full, as sharp
    as they agree with the others (naive Bayes); it counts by a ``share`` of that. The sum would be too sure of what
    both say: it is made as sure, on the whole, as its ``error`` allows, or as the calibrated probabilities are.
    """
    ngram_weight = share * fit_sharpness(ngram, near)[0]
    wrong = expected_error(near) if error is None else error
    together = sharpness_for(combine(near, ngram, 1.0, ngram_weight), wrong)
    return together, together * ngram_weight


def fit_share(near: Floats, ngram: Floats, truth: Floats) -> float:
    """The share of ``pool_taught`` that is best for texts with a known truth; all (texts, classes).

    Drawn towards 1, as few texts say little of it.
    """
    unit, _ = fit_sharpness(ngram, near)

    def cost(share: float) -> float:
        _, least = fit_sharpness(combine(near, ngram, 1.0, share * unit), truth, SHRINKAGE)
        return least + SHARE_SHRINKAGE * float(np.log(share)) ** 2

    return float(min(SHARES.tolist(), key=cost))


def fit_weights(
    encoder: Floats, ngram: Floats, targets: NDArray[np.int64], shrinkage: float = SHRINKAGE
) -> tuple[float, float]:
    """The weights of least log-loss on held-out texts, drawn a little towards (1, 0).

    A few dozen texts cannot tell near-equal weights apart; ``shrinkage`` (nats in all, per squared unit) settles such
    ties in favour of the encoder as it is, and is outvoted by many texts.
    """
    truth = np.eye(encoder.shape[1])[targets]
    best, chosen = np.inf, (1.0, 0.0)
    for encoder_weight in ENCODER_WEIGHTS:
        for ngram_weight in NGRAM_WEIGHTS:
            loss = log_loss(combine(encoder, ngram, encoder_weight, ngram_weight), truth)
            loss += shrinkage / len(targets) * (np.log(encoder_weight) ** 2 + ngram_weight**2)
            if loss < best:
                best, chosen = loss, (float(encoder_weight), float(ngram_weight))
    return chosen
