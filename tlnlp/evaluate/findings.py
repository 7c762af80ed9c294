"""Compute the figures of a report from held-out labels: the ``report`` of a bundle's ``training.json``.

All figures come from out-of-fold probabilities: a labelled text is predicted by a model that was not trained on it.
Intervals have 95% confidence. They cover the choice of the texts, not another draw of training labels or another seed.
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
# The exponent c of the learning curve: the value of the estimate, and the values that its interval allows for.
RATE, RATES = 0.5, (0.25, 0.5, 1.0)
_Z = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2)
_QUANTILES = (0.5 - CONFIDENCE / 2, 0.5 + CONFIDENCE / 2)


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
    """Return all figures of a report in JSON types, without NaN and without document text.

    Args:
        probabilities_before: out-of-fold probabilities before calibration (texts, classes).
        probabilities_after: the same after calibration; their largest gives the predicted class.
        targets: class indices (texts,).
        classes: the class labels, in the order of the columns.
        examples_places: file, row and label of each text.
        baselines: out-of-fold probabilities (texts, classes) of simpler models, by name.
        curve: pairs of a number of training labels and the hits, 0 or 1, of a model trained on so many labels
            (held-out texts,). Pairs with the same number are merged.
        seed: the seed of the bootstraps.

    Raises:
        ValueError: there are no texts, or shapes do not match.
    """
    if len(examples_places) != len(targets):
        raise ValueError(f"examples_places has {len(examples_places)} entries for {len(targets)} texts")
    for probabilities in (probabilities_before, probabilities_after, *baselines.values()):
        _check_shape(probabilities, len(targets), len(classes))
    right = probabilities_after.argmax(axis=1) == targets
    figures = {
        "cross_validation": cross_validation(probabilities_after, targets, tuple(classes), seed),
        "calibration": calibration(probabilities_before, probabilities_after, targets),
        "baselines": {
            name: _compare_baseline(right, probabilities, targets, tuple(classes))
            for name, probabilities in sorted(baselines.items())
        },
        "learning_curve": learning_curve(curve, len(targets), seed),
        "suspected_faults": suspected_faults(probabilities_after, targets, classes, examples_places),
    }
    return dict(_to_json_types(figures))


def _check_shape(probabilities: Floats, texts: int, classes: int) -> None:
    if not texts or probabilities.shape != (texts, classes):
        raise ValueError(
            f"probabilities have shape {probabilities.shape}, expected ({texts}, {classes}) and at least one text"
        )


def wilson(hits: int, n: int) -> tuple[float, float]:
    """Return the 95% score interval of a share (Wilson 1927); (0, 1) where ``n`` is 0."""
    if n == 0:
        return 0.0, 1.0
    share, squared = hits / n, _Z**2
    centre = (share + squared / (2 * n)) / (1 + squared / n)
    half = _Z * math.sqrt(share * (1 - share) / n + squared / (4 * n * n)) / (1 + squared / n)
    # Without this, rounding could exclude a share of exactly 0 or 1.
    return (0.0 if hits == 0 else centre - half), (1.0 if hits == n else centre + half)


def paired_interval(one: Hits, other: Hits) -> tuple[float, float, float]:
    """Return the accuracy of ``one`` minus that of ``other`` on the same texts, and the ends of its 95% interval.

    As in the promotion gate, one disagreement in each direction is added to the counts. Without it, the interval of two
    models that never disagree would have no width.

    Source: the paired variance of Newcombe 1998 (McNemar's setting).
    """
    n, better, worse = len(one), int((one & ~other).sum()), int((other & ~one).sum())
    difference = (better - worse) / n
    half = _Z * math.sqrt(better + worse + 2 - (better - worse) ** 2 / n) / n
    return difference, max(-1.0, difference - half), min(1.0, difference + half)


def cross_validation(probabilities: Floats, targets: Ints, classes: tuple[str, ...], seed: int) -> dict[str, Any]:
    """Return accuracy and macro-F1 with intervals, the figures of each class, and the confusion matrix.

    An undefined figure is None: the precision of a class that is never predicted, and the recall of a class that no
    text has.
    """
    figures = evaluate(probabilities, targets, classes)
    counts = np.asarray([[figures.confusion[true][label] for label in classes] for true in classes])
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
    """Return the 95% percentile interval of macro-F1 over resampled texts.

    The mean of a resample leaves out a class that is neither present nor predicted in it. Where all predictions are
    correct, or all are wrong, all resamples agree; the result is then the score interval of the accuracy.

    Source: Efron and Tibshirani 1993.
    """
    right, n = predicted == targets, len(targets)
    if right.all() or not right.any():
        return wilson(int(right.sum()), n)
    generator = np.random.default_rng((seed, 2))
    times = generator.multinomial(n, np.full(n, 1 / n), size=RESAMPLES).astype(np.float64)
    identity = np.eye(classes)
    # (resamples, classes): correct predictions of a class; labels plus predictions of that class.
    hits = times @ (identity[targets] * right[:, None])
    occurrences = times @ (identity[targets] + identity[predicted])
    absent = classes - len(np.union1d(targets, predicted))
    macro = (2 * hits / np.maximum(occurrences, 1)).sum(axis=1) / ((occurrences > 0).sum(axis=1) + absent)
    low, high = np.quantile(macro, _QUANTILES)
    return float(low), float(high)


def calibration(before: Floats, after: Floats, targets: Ints) -> dict[str, Any]:
    """Return the expected calibration error before and after calibration, and the bins behind it."""
    return {
        "ece_before": expected_calibration_error(before, targets),
        "ece_after": expected_calibration_error(after, targets),
        "bins_before": reliability(before, targets),
        "bins_after": reliability(after, targets),
    }


def reliability(probabilities: Floats, targets: Ints, bins: int = ECE_BINS) -> list[dict[str, Any]]:
    """Return mean confidence, accuracy and size of each bin of the expected calibration error."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == targets
    return [
        {"confidence": confidence[inside].mean(), "accuracy": right[inside].mean(), "n": len(inside)}
        for inside in equal_mass_bins(confidence, bins)
    ]


def _compare_baseline(right: Hits, probabilities: Floats, targets: Ints, classes: tuple[str, ...]) -> dict[str, Any]:
    """Return the figures of a baseline, and the accuracy of the model minus its accuracy. ``right``: the model's hits.

    The baseline is ``as_good`` where the interval of the difference reaches down to 0.
    """
    figures = evaluate(probabilities, targets, classes)
    baseline_right = probabilities.argmax(axis=1) == targets
    difference, low, high = paired_interval(right, baseline_right)
    return {
        "accuracy": figures.accuracy,
        "accuracy_interval": wilson(int(baseline_right.sum()), figures.n),
        "macro_f1": figures.macro_f1,
        "as_good": low <= 0,
        "difference": difference,
        "difference_interval": (low, high),
    }


def learning_curve(curve: Sequence[tuple[int, Ints]], labels: int, seed: int) -> dict[str, Any]:
    """Return the accuracy at each number of labels, and the gain in accuracy of 100 labels beyond ``labels``.

    The fitted curve is error(n) = a + b * n**-c with a, b >= 0. A few points cannot determine three parameters, so c is
    fixed to 1/2, the rate at which the error of a mean falls. The interval is a bootstrap of the hits, with c = 1/4,
    1/2 and 1 in turn. The gain (``more``) is None with fewer than three numbers of labels.

    Source: Cortes et al. 1993; Mukherjee et al. 2003.
    """
    by_count: dict[int, list[Ints]] = {}
    for count, hits in curve:
        if count > 0 and len(hits):
            by_count.setdefault(int(count), []).append(np.asarray(hits, dtype=np.int64))
    merged = {count: np.concatenate(by_count[count]) for count in sorted(by_count)}
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
    gain, (low, high) = float(_gain(error, counts, weights, start, RATE)[0]), np.quantile(gains, _QUANTILES)
    more = {"labels": MORE_LABELS, "gain": gain, "low": min(low, gain), "high": max(high, gain)}
    return {"points": points, "more": more}


def _resampled_errors(hits: list[Ints], generator: np.random.Generator) -> Floats:
    """Return bootstrapped errors (resamples, points).

    Points with the same number of texts are resampled together, since they are measured on the same texts.
    """
    sizes = {len(one) for one in hits}
    draws = {size: generator.integers(0, size, (RESAMPLES, size)) for size in sorted(sizes)}
    return np.stack([1 - one[draws[len(one)]].mean(axis=1) for one in hits], axis=1)


def _gain(error: Floats, counts: Floats, weights: NDArray[Any], start: int, rate: float) -> Floats:
    """Fit the curve to errors (fits, points); return the gain of 100 labels beyond ``start`` of each fit (fits,)."""
    x, w = counts**-rate, weights / weights.sum()
    centred = x - w @ x
    slope = error @ (w * centred) / (w @ centred**2)
    # A negative final error a is impossible: fit those curves again with a = 0.
    slope = np.where(error @ w < slope * (w @ x), error @ (w * x) / (w @ x**2), slope)
    ahead = start**-rate - (start + MORE_LABELS) ** -rate
    return np.asarray(np.maximum(slope, 0) * ahead, dtype=np.float64)


def suspected_faults(
    probabilities: Floats, targets: Ints, classes: Sequence[str], places: Sequence[tuple[str, int, str]]
) -> list[dict[str, Any]]:
    """Return labels that are probably wrong: at most 50, the most confident predictions first.

    A label is suspected if the model predicts another class, with at least the mean probability that the model gives to
    that class over the texts labelled with it.

    Args:
        probabilities: out-of-fold probabilities (texts, classes).
        targets: class indices of the labels (texts,).
        classes: the class labels, in the order of the columns.
        places: file, row and label of each text.

    Source: confident learning (Northcutt, Jiang and Chuang 2021).
    """
    predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    # A class without labelled texts has no such mean, so it never makes a label suspect.
    mean_probability = np.full(len(classes), np.inf)
    for k in np.unique(targets):
        mean_probability[k] = probabilities[targets == k, k].mean()
    suspects = np.flatnonzero((predicted != targets) & (confidence >= mean_probability[predicted]))
    ordered = suspects[np.argsort(-confidence[suspects], kind="stable")][:MAX_FAULTS]
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


def _to_json_types(value: Any) -> Any:
    """Convert a value to JSON types. Numbers are rounded to 6 decimals; None replaces numbers that are not finite."""
    if isinstance(value, Mapping):
        return {str(key): _to_json_types(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_to_json_types(inner) for inner in value]
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return round(float(value), 6) if math.isfinite(value) else None
    return value
