"""Intervals of 95% confidence: of a share, of the difference of two models on the same texts, and of macro-F1."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, norm

CONFIDENCE = 0.95
QUANTILES = (0.5 - CONFIDENCE / 2, 0.5 + CONFIDENCE / 2)
DRAWS = 2000
# Draws are made in pieces of about this many numbers, to bound the memory.
PIECE = 2_000_000
_Z = float(norm.ppf(0.5 + CONFIDENCE / 2))

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Hits = NDArray[np.bool_]


def wilson(hits: int, n: int) -> tuple[float, float]:
    """Return the 95% score interval of a share (Wilson 1927); (0, 1) where ``n`` is 0."""
    if n == 0:
        return 0.0, 1.0
    found = binomtest(int(hits), int(n)).proportion_ci(CONFIDENCE, method="wilson")
    # Without this, rounding could exclude a share of exactly 0 or 1.
    return (0.0 if hits == 0 else float(found.low)), (1.0 if hits == n else float(found.high))


def wilson_intervals(hits: Ints, n: Ints) -> tuple[Floats, Floats]:
    """Return the lower and the upper ends of the 95% score intervals of many shares, as ``wilson`` does for one.

    Args:
        hits: how many of the ``n`` count (shares,).
        n: how many there are (shares,).
    """
    n_or_1 = np.maximum(n, 1)
    share, square = hits / n_or_1, _Z**2
    centre = (share + square / (2 * n_or_1)) / (1 + square / n_or_1)
    half = _Z * np.sqrt(share * (1 - share) / n_or_1 + square / (4 * n_or_1**2)) / (1 + square / n_or_1)
    low = np.where((hits == 0) | (n == 0), 0.0, np.maximum(centre - half, 0.0))
    high = np.where((hits == n) | (n == 0), 1.0, np.minimum(centre + half, 1.0))
    return low, high


def difference_intervals(hits: Ints, n: Ints, before: Ints, n_before: Ints) -> tuple[Floats, Floats]:
    """Return the ends of the 95% intervals of ``hits / n - before / n_before``, of independent samples (shares,).

    Source: Newcombe 1998, method 10 (from the score intervals of both shares).
    """
    (low, high), (low_before, high_before) = wilson_intervals(hits, n), wilson_intervals(before, n_before)
    share, share_before = hits / np.maximum(n, 1), before / np.maximum(n_before, 1)
    difference = share - share_before
    return (
        difference - np.sqrt((share - low) ** 2 + (high_before - share_before) ** 2),
        difference + np.sqrt((high - share) ** 2 + (share_before - low_before) ** 2),
    )


def paired_difference(one: Hits, other: Hits) -> tuple[float, float]:
    """Return the accuracy of ``one`` minus that of ``other`` on the same texts, and its standard error.

    One disagreement in each direction is added to the counts. Without it, two models that never disagree would have a
    standard error of 0.

    Source: the paired variance of Newcombe 1998 (McNemar's setting).
    """
    n, better, worse = len(one), int((one & ~other).sum()), int((other & ~one).sum())
    return (better - worse) / n, math.sqrt(better + worse + 2 - (better - worse) ** 2 / n) / n


def paired_interval(one: Hits, other: Hits) -> tuple[float, float, float]:
    """Return the accuracy of ``one`` minus that of ``other`` on the same texts, and the ends of its 95% interval.

    The exact coverage is at least 95% from 20 texts on.
    """
    difference, standard_error = paired_difference(one, other)
    half = _Z * standard_error
    return difference, max(-1.0, difference - half), min(1.0, difference + half)


def macro_f1_interval(predicted: Ints, targets: Ints, classes: int, seed: int) -> tuple[float, float]:
    """Return the 95% credible interval of macro-F1, for the given number of texts of each class.

    The predictions of the texts of a class are a multinomial sample, so its parameters have a Dirichlet posterior. The
    prior is half a text that is predicted correctly and half a text that is not, spread over the classes: Jeffreys'
    prior of the accuracy. A bootstrap has no width where no text is predicted wrongly, and hardly any where few are.

    Args:
        predicted: predicted class indices (texts,).
        targets: class indices of the labels (texts,).
        classes: the number of classes.
        seed: the seed of the draws.

    Source: Goutte and Gaussier 2005, for several classes.
    """
    counts = np.zeros((classes, classes))
    np.add.at(counts, (targets, predicted), 1)
    shares = counts.sum(axis=1) / len(targets)
    prior = np.full((classes, classes), 0.5 / classes / max(classes - 1, 1))
    np.fill_diagonal(prior, 0.5 / classes)
    generator, drawn = np.random.default_rng((seed, 2)), list[NDArray[np.float64]]()
    for first in range(0, DRAWS, piece := max(1, PIECE // classes**2)):
        gammas = generator.standard_gamma(counts + prior, (min(piece, DRAWS - first), classes, classes))
        # A class without texts has a share of 0, and its draws may all be 0.
        totals = np.maximum(gammas.sum(axis=2, keepdims=True), np.finfo(np.float64).tiny)
        drawn.append(_macro_f1(gammas / totals * shares[:, None]))
    low, high = np.quantile(np.concatenate(drawn), QUANTILES)
    measured = float(_macro_f1(counts))
    return min(float(low), measured), max(float(high), measured)


def _macro_f1(confusion: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return macro-F1 of confusion matrices (..., classes, classes) of counts or of shares."""
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    occurrences = confusion.sum(axis=-1) + confusion.sum(axis=-2)
    f1 = np.divide(2 * hits, occurrences, out=np.zeros_like(occurrences), where=occurrences > 0)
    return np.asarray(f1.mean(axis=-1))
