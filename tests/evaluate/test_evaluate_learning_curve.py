"""The learning curve: its points, the fitted gain, and how often its interval holds the true gain."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from curve_kit import Centroids, Design, of_a_law
from numpy.typing import NDArray

from tlnlp.evaluate import learning_curve as module
from tlnlp.evaluate.intervals import wilson
from tlnlp.evaluate.learning_curve import CurvePoint, learning_curve

Points = Callable[[np.random.Generator], list[CurvePoint]]
FEW, SOME, MANY = Design(60), Design(220), Design(400, draws=1, folds=2)


def point(labels: int, share: float, texts: int = 10_000) -> CurvePoint:
    return CurvePoint(labels, np.arange(texts), hits(share, texts))


def hits(share: float, texts: int) -> NDArray[np.int64]:
    return (np.arange(texts) < round(share * texts)).astype(np.int64)


def test_the_curve_recovers_a_known_law() -> None:
    counts = (25, 50, 100, 200)
    curve = [point(n, 1 - (0.05 + 1.5 / n**0.5)) for n in counts]
    result = learning_curve(curve, 200, seed=1)
    assert [one["labels"] for one in result["points"]] == list(counts)
    first = result["points"][0]
    assert first["accuracy"] == pytest.approx(0.65)
    assert (first["low"], first["high"]) == wilson(6500, 10_000)
    assert result["more"]["gain"] == pytest.approx(1.5 * (200**-0.5 - 300**-0.5), abs=1e-3)
    assert 0 <= result["more"]["low"] <= result["more"]["gain"] <= result["more"]["high"] < 0.1
    # The gain of more labels falls with the number of labels.
    assert learning_curve(curve, 400, seed=1)["more"]["gain"] < result["more"]["gain"]


@pytest.mark.parametrize(
    ("accuracies", "highest"), [((0.9, 0.8, 0.7), 1e-9), ((1.0, 1.0, 1.0), 1e-9), ((0.2, 0.7, 0.99), 0.2)]
)
def test_a_gain_is_never_negative_nor_above_the_remaining_error(accuracies: tuple[float, ...], highest: float) -> None:
    curve = [point(n, share, 500) for n, share in zip((20, 40, 80), accuracies, strict=True)]
    more = learning_curve(curve, 80, seed=1)["more"]
    assert 0 <= more["low"] <= more["gain"] <= highest
    assert more["labels"] == 80  # Not 100: a curve of 80 labels is not continued beyond 160.


def test_few_points_give_no_gain_and_equal_counts_are_merged() -> None:
    assert learning_curve([], 10, seed=0) == {"points": [], "more": None}
    curve = [point(80, 1.0, 5), point(40, 0.5, 10), CurvePoint(80, np.arange(5, 20), hits(0, 15)), point(120, 0.5, 0)]
    result = learning_curve(curve, 100, seed=0)
    assert result["more"] is None
    assert [(one["labels"], one["accuracy"]) for one in result["points"]] == [(40, 0.5), (80, 0.25)]


def test_several_predictions_of_a_text_count_as_one_text() -> None:
    once = point(40, 0.8, 60)
    five_times = CurvePoint(40, np.tile(once.texts, 5), np.tile(once.hits, 5))
    one, five = (learning_curve([each], 80, seed=0)["points"][0] for each in (once, five_times))
    assert one == five
    others = [point(80, 0.85, 60), point(160, 0.9, 60)]
    assert learning_curve([once, *others], 160, 0) == learning_curve([five_times, *others], 160, 0)


def test_a_flat_noisy_curve_promises_nothing() -> None:
    generator = np.random.default_rng(0)
    curve = [CurvePoint(n, np.arange(110), generator.permutation(hits(a, 110))) for n, a in ((27, 0.64), (55, 0.59))]
    more = learning_curve([*curve, point(110, 0.68, 110)], 110, seed=0)["more"]
    assert more["low"] == 0
    assert more["high"] > 0.03


LAWS: dict[str, tuple[Design, Callable[[float], float]]] = {
    "flat": (SOME, lambda n: 0.8),
    "flat, many labels": (MANY, lambda n: 0.8),
    "c = 1/4": (SOME, lambda n: 0.98 - 0.8 * n**-0.25),
    "c = 1/2, few labels": (FEW, lambda n: 0.95 - 1.5 * n**-0.5),
    "c = 1/2, many labels": (MANY, lambda n: 0.95 - 1.5 * n**-0.5),
    "c = 1": (SOME, lambda n: 0.92 - 4 / n),
}


@pytest.mark.parametrize("name", LAWS)
def test_the_interval_holds_the_gain_of_a_law(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    design, accuracy = LAWS[name]
    labels = design.labels
    truth = accuracy(labels + min(100, labels)) - accuracy(labels)
    assert held(lambda generator: of_a_law(design, accuracy, generator), labels, truth, monkeypatch) >= 0.92


@pytest.mark.parametrize(
    ("design", "model"), [(FEW, Centroids(1, 1)), (SOME, Centroids(5, 2)), (SOME, Centroids(100, 2.5))], ids=str
)
def test_the_interval_holds_the_gain_of_a_model_that_learns(
    design: Design, model: Centroids, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels, generator = design.labels, np.random.default_rng(9)
    more = labels + min(100, labels)
    truth = model.accuracy(more, generator) - model.accuracy(labels, generator)
    assert held(lambda generator: model.points(design, generator), labels, truth, monkeypatch) >= 0.92


def held(points: Points, labels: int, truth: float, monkeypatch: pytest.MonkeyPatch, repeats: int = 100) -> float:
    """Return the share of drawn curves whose interval holds the true gain."""
    monkeypatch.setattr(module, "RESAMPLES", 400)
    inside = 0
    for seed in range(repeats):
        more = learning_curve(points(np.random.default_rng((seed, 5))), labels, seed)["more"]
        inside += more["low"] <= truth <= more["high"]
    return inside / repeats
