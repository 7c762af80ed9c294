"""Calibrate probabilities: fit the temperature of one view, or the weights of the pool of two views.

With one view, the pool of ``combine`` is temperature scaling (Guo et al. 2017). So the same two weights calibrate and
combine. They are fitted once, on texts that neither view was trained on.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tlnlp.model.combine import FLOOR, Floats, combine, softmax

# Grids of the values that the fits below try.
ENCODER_WEIGHTS = np.round(np.geomspace(0.1, 5.0, 52), 4)
POWERS = np.geomspace(0.02, 10.0, 400)
SHARES = np.round(np.geomspace(0.25, 4.0, 17), 3)
# Penalty on a share of the n-gram view, in nats times its squared logarithm. Weak: a share of 3 is plausible.
SHARE_SHRINKAGE = 0.5
# Penalty on the weights of ``fit_weights``, in nats over all texts: a few dozen texts cannot rank similar weights.
SHRINKAGE = 2.0
NGRAM_WEIGHTS = np.round(np.linspace(0.0, 2.0, 41), 4)


def log_loss(probabilities: Floats, truth: Floats) -> float:
    """Return the mean cross-entropy in nats per text; ``truth`` holds target probabilities; both (texts, classes)."""
    return float(-(truth * np.log(np.maximum(probabilities, FLOOR))).sum(axis=1).mean())


def fit_sharpness(probabilities: Floats, truth: Floats, shrinkage: float = 0.0) -> tuple[float, float]:
    """Fit temperature scaling: return the best power of probabilities, and its cost in nats over all texts.

    The power (1 / temperature) minimises the cross-entropy to ``truth`` plus a penalty.

    Args:
        probabilities: probabilities to calibrate, (texts, classes).
        truth: target probabilities, (texts, classes).
        shrinkage: penalty in nats times the squared logarithm of the power; it draws the power towards 1.

    Source: Guo et al. 2017.
    """
    logs = np.log(np.maximum(probabilities, FLOOR))
    cost, power = min(
        (len(truth) * log_loss(softmax(power * logs), truth) + shrinkage * np.log(power) ** 2, power)
        for power in ENCODER_WEIGHTS.tolist()
    )
    return power, float(cost)


def expected_error(probabilities: Floats) -> float:
    """Return the expected share of texts whose most probable class is wrong.

    Args:
        probabilities: calibrated probabilities, (texts, classes).
    """
    return float(1.0 - probabilities.max(axis=1).mean())


def sharpness_for(probabilities: Floats, error: float) -> float:
    """Return the power of ``probabilities`` (texts, classes) whose ``expected_error`` is closest to ``error``."""
    logs = np.log(np.maximum(probabilities, FLOOR))
    errors = np.array([expected_error(softmax(power * logs)) for power in POWERS])
    return float(POWERS[int(np.argmin(np.abs(errors - error)))])


def unlabelled_pool_weights(
    calibrated: Floats, ngram: Floats, share: float = 1.0, error: float | None = None
) -> tuple[float, float]:
    """Return the weights (calibrated, ngram) of a log-linear pool, without labels.

    The n-gram view was trained on the calibrated probabilities. If the errors of the two were independent, its
    log-probabilities would count in full after temperature scaling (naive Bayes). They are not, so only a ``share``
    counts. The pool would be overconfident where both agree, so a common power sets its expected error.

    Args:
        calibrated: calibrated probabilities of unlabelled documents, (texts, classes).
        ngram: probabilities of the n-gram view for the same documents, (texts, classes).
        share: factor of the n-gram view's weight (see ``fit_share``).
        error: expected error of the pool; None means that of ``calibrated``.
    """
    ngram_weight = share * fit_sharpness(ngram, calibrated)[0]
    pool_error = expected_error(calibrated) if error is None else error
    power = sharpness_for(combine(calibrated, ngram, 1.0, ngram_weight), pool_error)
    return power, power * ngram_weight


def fit_share(calibrated: Floats, ngram: Floats, truth: Floats) -> float:
    """Return the ``share`` for ``unlabelled_pool_weights`` that minimises the log-loss on labelled texts.

    A penalty draws the share towards 1, because few texts determine it poorly.

    Args:
        calibrated: calibrated probabilities, (texts, classes).
        ngram: probabilities of the n-gram view, (texts, classes).
        truth: one-hot labels, (texts, classes).
    """
    unit, _ = fit_sharpness(ngram, calibrated)

    def cost(share: float) -> float:
        _, least = fit_sharpness(combine(calibrated, ngram, 1.0, share * unit), truth, SHRINKAGE)
        return least + SHARE_SHRINKAGE * float(np.log(share)) ** 2

    return float(min(SHARES.tolist(), key=cost))


def fit_weights(
    encoder: Floats, ngram: Floats, targets: NDArray[np.int64], shrinkage: float = SHRINKAGE
) -> tuple[float, float]:
    """Return the weights (encoder, ngram) of least log-loss on held-out texts, with a penalty towards (1, 0).

    A few dozen texts cannot rank similar weights. The penalty then prefers the encoder alone and unscaled; with many
    texts the log-loss decides.

    Args:
        encoder: probabilities of the encoder view, (texts, classes).
        ngram: probabilities of the n-gram view, (texts, classes).
        targets: class indices, (texts,).
        shrinkage: penalty in nats over all texts, times log(encoder_weight)² + ngram_weight².
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
