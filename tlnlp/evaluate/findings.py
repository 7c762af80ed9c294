"""What held-out labels say about a model, as one plain dict: the ``report`` of a bundle's ``training.json``.

Every figure comes from out-of-fold probabilities: each labelled text was read by a model that had not learned from it.
Intervals hold 95 % and speak of the texts alone; what another draw of training labels or another seed would change is
not in them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlnlp.evaluate.metrics import ECE_BINS, equal_mass_bins, evaluate, expected_calibration_error
from tlnlp.model.combine import Floats

Ints = NDArray[np.int64]
Hits = NDArray[np.bool_]
CONFIDENCE = 0.95
RESAMPLES = 2000
MORE_LABELS = 100
MAX_FAULTS = 50
MIN_CURVE_POINTS = 3
# How fast error falls with labels: the rate taken, and the rates that its interval allows for.
RATE, RATES = 0.5, (0.25, 0.5, 1.0)
_Z = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2)
_ENDS = (0.5 - CONFIDENCE / 2, 0.5 + CONFIDENCE / 2)


def findings(
    probabilities_before: Floats,
    probabilities_after: Floats,
    targets: Ints,
    classes: Sequence[str],
    examples_places: Sequence[tuple[str, int, str]],
    baselines: Mapping[str, Floats],
    curve: Sequence[tuple[int, Ints]],
    seed: int,
) -> dict[str, Any]:
    """Everything the report of a version tells, ready for JSON: no NaN, no numpy, no text.

    ``probabilities_before`` and ``_after`` calibration, and those of each of ``baselines``, are out-of-fold, (texts,
    classes); ``targets`` (texts,) are class indices; ``examples_places`` (file, row, label), one a text. A point of
    ``curve`` is a count of labels used and the hits (held-out texts,), 0 or 1, of a model trained on so many; equal
    counts are put together. Labels that the model predicts are those of ``probabilities_after``.

    Raises:
        ValueError: no texts, or shapes that do not agree.
    """
    if len(examples_places) != len(targets):
        raise ValueError(f"{len(examples_places)} places of {len(targets)} texts")
    for given in (probabilities_before, probabilities_after, *baselines.values()):
        _check_shape(given, len(targets), len(classes))
    right = probabilities_after.argmax(axis=1) == targets
    found = {
        "cross_validation": cross_validation(probabilities_after, targets, tuple(classes), seed),
        "calibration": calibration(probabilities_before, probabilities_after, targets),
        "baselines": {
            name: _beside(right, given, targets, tuple(classes)) for name, given in sorted(baselines.items())
        },
        "learning_curve": learning_curve(curve, len(targets), seed),
        "suspected_faults": suspected_faults(probabilities_after, targets, classes, examples_places),
    }
    return dict(_plain(found))


def _check_shape(probabilities: Floats, texts: int, classes: int) -> None:
    if not texts or probabilities.shape != (texts, classes):
        raise ValueError(
            f"probabilities are {probabilities.shape}, expected ({texts}, {classes}) and at least one text"
        )


def wilson(hits: int, n: int) -> tuple[float, float]:
    """The 95 % score interval of a share (Wilson 1927); (0, 1) where nothing was seen."""
    if n == 0:
        return 0.0, 1.0
    share, squared = hits / n, _Z**2
    centre = (share + squared / (2 * n)) / (1 + squared / n)
    half = _Z * math.sqrt(share * (1 - share) / n + squared / (4 * n * n)) / (1 + squared / n)
    # Rounding must not put an end a hair inside a share of exactly 0 or 1.
    return (0.0 if hits == 0 else centre - half), (1.0 if hits == n else centre + half)


def paired_interval(one: Hits, other: Hits) -> tuple[float, float, float]:
    """Accuracy of ``one`` less that of ``other`` on the same texts, and the ends of its 95 % interval.

    The variance is that of McNemar's setting (Newcombe 1998); as in the promotion gate, one disagreement each way is
    added as if seen, or no disagreement at all would look like certainty.
    """
    n, better, worse = len(one), int((one & ~other).sum()), int((other & ~one).sum())
    difference = (better - worse) / n
    half = _Z * math.sqrt(better + worse + 2 - (better - worse) ** 2 / n) / n
    return difference, max(-1.0, difference - half), min(1.0, difference + half)


def cross_validation(probabilities: Floats, targets: Ints, classes: tuple[str, ...], seed: int) -> dict[str, Any]:
    """Accuracy, macro-F1 and their intervals, figures by class, and the confusion of true with predicted classes.

    A figure that does not exist is None: the precision of a class that is never predicted, the recall of one that no
    text has.
    """
    figures = evaluate(probabilities, targets, classes)
    counts = np.asarray([[figures.confusion[true][guess] for guess in classes] for true in classes])
    hits, actual, predicted = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    per_class = {
        label: {
            "precision": hits[k] / predicted[k] if predicted[k] else None,
            "recall": hits[k] / actual[k] if actual[k] else None,
            "f1": 2 * hits[k] / (actual[k] + predicted[k]) if actual[k] + predicted[k] else None,
            "n": actual[k],
        }
        for k, label in enumerate(classes)
    }
    return {
        "n": figures.n,
        "accuracy": figures.accuracy,
        "accuracy_interval": wilson(int(hits.sum()), figures.n),
        "macro_f1": figures.macro_f1,
        "macro_f1_interval": macro_f1_interval(probabilities.argmax(axis=1), targets, len(classes), seed),
        "per_class": per_class,
        "confusion": figures.confusion,
    }


def macro_f1_interval(predicted: Ints, targets: Ints, classes: int, seed: int) -> tuple[float, float]:
    """The 95 % percentile interval of macro-F1 over resampled texts (Efron and Tibshirani 1993).

    A class that a resample happens to hold no trace of is left out of that resample's mean. Where every text is right,
    or every one wrong, resampling has nothing to vary, and the score interval of accuracy stands in.
    """
    right, n = predicted == targets, len(targets)
    if right.all() or not right.any():
        return wilson(int(right.sum()), n)
    generator = np.random.default_rng((seed, 2))
    drawn = generator.multinomial(n, np.full(n, 1 / n), size=RESAMPLES).astype(np.float64)
    identity = np.eye(classes)
    # (resamples, classes): texts of a class that are right, and texts that have or are given that class.
    hits = drawn @ (identity[targets] * right[:, None])
    seen = drawn @ (identity[targets] + identity[predicted])
    absent = classes - len(np.union1d(targets, predicted))
    macro = (2 * hits / np.maximum(seen, 1)).sum(axis=1) / ((seen > 0).sum(axis=1) + absent)
    low, high = np.quantile(macro, _ENDS)
    return float(low), float(high)


def calibration(before: Floats, after: Floats, targets: Ints) -> dict[str, Any]:
    """Expected calibration error before and after, and the bins it is made of."""
    return {
        "ece_before": expected_calibration_error(before, targets),
        "ece_after": expected_calibration_error(after, targets),
        "bins_before": reliability(before, targets),
        "bins_after": reliability(after, targets),
    }


def reliability(probabilities: Floats, targets: Ints, bins: int = ECE_BINS) -> list[dict[str, Any]]:
    """Mean confidence and accuracy in each bin of equally many texts, the bins of the expected calibration error."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == targets
    return [
        {"confidence": confidence[inside].mean(), "accuracy": right[inside].mean(), "n": len(inside)}
        for inside in equal_mass_bins(confidence, bins)
    ]


def _beside(right: Hits, probabilities: Floats, targets: Ints, classes: tuple[str, ...]) -> dict[str, Any]:
    figures = evaluate(probabilities, targets, classes)
    own = probabilities.argmax(axis=1) == targets
    difference, low, high = paired_interval(right, own)
    return {
        "accuracy": figures.accuracy,
        "accuracy_interval": wilson(int(own.sum()), figures.n),
        "macro_f1": figures.macro_f1,
        "as_good": low <= 0,
        "difference": difference,
        "difference_interval": (low, high),
    }


def learning_curve(curve: Sequence[tuple[int, Ints]], labels: int, seed: int) -> dict[str, Any]:
    """Accuracy at each count of labels, and what 100 labels more than ``labels`` would bring.

    The law is error(n) = a + b * n**-c with a, b >= 0 (Cortes et al. 1993; Mukherjee et al. 2003). A few points cannot
    tell three parameters, so c is 1/2, the rate of a mean. The interval is a bootstrap of the hits, in which c is 1/4,
    1/2 or 1 in turn. None with fewer than three counts.
    """
    together: dict[int, list[Ints]] = {}
    for count, hits in curve:
        if count > 0 and len(hits):
            together.setdefault(int(count), []).append(np.asarray(hits, dtype=np.int64))
    merged = {count: np.concatenate(together[count]) for count in sorted(together)}
    points = []
    for count, hits in merged.items():
        low, high = wilson(int(hits.sum()), len(hits))
        points.append({"labels": count, "accuracy": hits.mean(), "low": low, "high": high})
    if len(merged) < MIN_CURVE_POINTS:
        return {"points": points, "more": None}
    counts, weights = np.asarray(list(merged), dtype=float), np.asarray([len(hits) for hits in merged.values()])
    start = max(labels, max(merged))
    error = np.asarray([[1 - hits.mean() for hits in merged.values()]])
    resampled = _resampled_errors(list(merged.values()), np.random.default_rng((seed, 3)))
    gains = np.concatenate(
        [_gain(resampled[i :: len(RATES)], counts, weights, start, rate) for i, rate in enumerate(RATES)]
    )
    gain, (low, high) = float(_gain(error, counts, weights, start, RATE)[0]), np.quantile(gains, _ENDS)
    more = {"labels": MORE_LABELS, "gain": gain, "low": min(low, gain), "high": max(high, gain)}
    return {"points": points, "more": more}


def _resampled_errors(hits: list[Ints], generator: np.random.Generator) -> Floats:
    """(resamples, points). Points with equally many texts share each draw, so that what they have in common stays."""
    sizes = {len(one) for one in hits}
    draws = {size: generator.integers(0, size, (RESAMPLES, size)) for size in sorted(sizes)}
    return np.stack([1 - one[draws[len(one)]].mean(axis=1) for one in hits], axis=1)


def _gain(error: Floats, counts: Floats, weights: NDArray[Any], start: int, rate: float) -> Floats:
    """What the fitted law promises from ``start`` labels to 100 more: (fits,) from errors (fits, points)."""
    x, w = counts**-rate, weights / weights.sum()
    centred = x - w @ x
    slope = error @ (w * centred) / (w @ centred**2)
    # Error that would end below zero: the line through the origin instead.
    slope = np.where(error @ w < slope * (w @ x), error @ (w * x) / (w @ x**2), slope)
    ahead = start**-rate - (start + MORE_LABELS) ** -rate
    return np.asarray(np.maximum(slope, 0) * ahead, dtype=np.float64)


def suspected_faults(
    probabilities: Floats, targets: Ints, classes: Sequence[str], places: Sequence[tuple[str, int, str]]
) -> list[dict[str, Any]]:
    """Labels with which the model confidently disagrees, most confident first, at most 50.

    Confident learning (Northcutt, Jiang and Chuang 2021): the predicted class is another one, and its probability is
    at least the mean that texts labelled with that class have for it.
    """
    predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    # A class that labels no text has no such mean, and is never held against a label.
    usual = np.full(len(classes), np.inf)
    for k in np.unique(targets):
        usual[k] = probabilities[targets == k, k].mean()
    doubtful = np.flatnonzero((predicted != targets) & (confidence >= usual[predicted]))
    ordered = doubtful[np.argsort(-confidence[doubtful], kind="stable")][:MAX_FAULTS]
    return [
        {
            "file": places[i][0],
            "row": places[i][1],
            "label": places[i][2],
            "predicted": classes[predicted[i]],
            "probability": confidence[i],
        }
        for i in ordered
    ]


def _plain(value: Any) -> Any:
    """The same in types that JSON has; a number that is not finite is None."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return round(float(value), 6) if math.isfinite(value) else None
    return value
