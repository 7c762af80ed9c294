"""Estimate from a learning curve what more labels would bring, and how far the curve can tell.

Source of the curve: Cortes et al. 1993; Mukherjee et al. 2003. Source of the allowance for the choice of the training
labels: Nadeau and Bengio 2003.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlnlp.evaluate.intervals import PIECE, QUANTILES, wilson
from tlnlp.model.combine import Floats

RESAMPLES = 2000
# The gain is that of so many more labels, but of no more than there are: a curve cannot be continued further.
MORE_LABELS = 100
MIN_CURVE_POINTS = 3
# The exponent c of the curve: the value of the estimate, and the values that its interval allows for.
RATE, RATES = 0.5, (0.25, 0.5, 1.0)


@dataclass(frozen=True)
class CurvePoint:
    """The predictions of models that were trained on the same number of labels.

    Attributes:
        labels: the number of training labels.
        texts: which held-out text each prediction is of, (predictions,). A text may be predicted by several models, and
            stands under the same number in all points.
        hits: whether each prediction is correct, 0 or 1, (predictions,).
    """

    labels: int
    texts: NDArray[np.int64]
    hits: NDArray[np.int64]


def learning_curve(curve: Sequence[CurvePoint], labels: int, seed: int) -> dict[str, Any]:
    """Return the accuracy at each number of labels, and the gain in accuracy of more labels beyond ``labels``.

    The fitted curve is error(n) = a + b * n**-c with b >= 0. A few points cannot determine three parameters, so c is
    fixed to 1/2, the rate at which the error of a mean falls. The interval is a bootstrap with c = 1/4, 1/2 and 1 in
    turn. All points are measured on the same texts, so texts are resampled, each with all of its predictions. The
    deviations are widened by (1 + texts / labels of the last point) ** 0.5, because other training labels would have
    given other models. The gain (``more``) is None with fewer than three numbers of labels.

    Args:
        curve: the points; those with the same number of labels are merged, those without predictions left out.
        labels: how many labels there are in all.
        seed: the seed of the bootstrap.
    """
    points = _merged(curve)
    shown = [{"labels": one.labels, **_measured(one)} for one in points]
    if len(points) < MIN_CURVE_POINTS:
        return {"points": shown, "more": None}
    counts = np.asarray([one.labels for one in points], dtype=float)
    start = max(labels, points[-1].labels)
    ahead = min(MORE_LABELS, start)
    error, resampled, texts = _errors(points, np.random.default_rng((seed, 3)))
    resampled = error + (resampled - error) * np.sqrt(1 + texts.max() / counts[-1])
    gains = [_gain(resampled[i :: len(RATES)], counts, texts, (start, ahead), rate) for i, rate in enumerate(RATES)]
    gain = max(0.0, float(_gain(error[None], counts, texts, (start, ahead), RATE)[0]))
    low, high = np.maximum(np.quantile(np.concatenate(gains), QUANTILES), 0)
    return {"points": shown, "more": {"labels": ahead, "gain": gain, "low": min(low, gain), "high": max(high, gain)}}


def _merged(curve: Sequence[CurvePoint]) -> list[CurvePoint]:
    """Return one point for each number of labels, the fewest labels first."""
    by_count: dict[int, list[CurvePoint]] = {}
    for point in curve:
        if point.labels > 0 and len(point.hits):
            by_count.setdefault(point.labels, []).append(point)
    return [
        CurvePoint(
            count,
            np.concatenate([one.texts for one in by_count[count]]),
            np.concatenate([one.hits for one in by_count[count]]),
        )
        for count in sorted(by_count)
    ]


def _measured(point: CurvePoint) -> dict[str, float]:
    """Return the accuracy of a point with its interval. Several predictions of a text count as one text."""
    accuracy, texts = float(point.hits.mean()), len(np.unique(point.texts))
    low, high = wilson(round(accuracy * texts), texts)
    return {"accuracy": accuracy, "low": min(low, accuracy), "high": max(high, accuracy)}


def _errors(points: Sequence[CurvePoint], generator: np.random.Generator) -> tuple[Floats, Floats, Floats]:
    """Return errors (points,), bootstrapped errors (resamples, points), and numbers of texts (points,)."""
    names = np.unique(np.concatenate([one.texts for one in points]))
    wrong, read = np.zeros((2, len(names), len(points)))
    for k, one in enumerate(points):
        at = np.searchsorted(names, one.texts)
        np.add.at(wrong[:, k], at, 1 - one.hits)
        np.add.at(read[:, k], at, 1)
    error, resampled = wrong.sum(axis=0) / read.sum(axis=0), list[Floats]()
    for first in range(0, RESAMPLES, piece := max(1, PIECE // len(names))):
        size = min(piece, RESAMPLES - first)
        times = generator.multinomial(len(names), np.full(len(names), 1 / len(names)), size=size).astype(np.float64)
        seen = times @ read
        # With a handful of texts, a resample may hold none that a point measured.
        resampled.append(np.where(seen > 0, times @ wrong / np.maximum(seen, 1), error))
    return error, np.concatenate(resampled), (read > 0).sum(axis=0).astype(np.float64)


def _gain(error: Floats, counts: Floats, weights: Floats, reach: tuple[int, int], rate: float) -> Floats:
    """Fit the curve to errors (fits, points); return the gain of each fit (fits,), negative where the error rises.

    Args:
        counts: numbers of labels (points,).
        weights: weights of the points in the fit (points,).
        reach: the number of labels that the gain begins at, and how many more it is of.
        rate: the exponent c.
    """
    x, w, start = counts**-rate, weights / weights.sum(), reach[0]
    centred = x - w @ x
    slope = error @ (w * centred) / (w @ centred**2)
    now, then = float(start) ** -rate, float(sum(reach)) ** -rate
    left = np.maximum(error @ w + slope * (now - w @ x), 0)
    # More labels cannot remove more than the error that is left.
    return np.asarray(np.minimum(slope * (now - then), left), dtype=np.float64)
