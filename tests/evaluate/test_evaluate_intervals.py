"""The intervals cover what they say: exactly where all outcomes can be listed, by simulation where they cannot."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binom, binomtest, multinomial
from sklearn.metrics import f1_score

from tlnlp.evaluate import intervals
from tlnlp.evaluate.intervals import (
    difference_intervals,
    macro_f1_interval,
    paired_interval,
    wilson,
    wilson_intervals,
)


@pytest.mark.parametrize(("right", "n"), [(92, 100), (0, 5), (5, 5), (1, 3)])
def test_wilson_agrees_with_scipy(right: int, n: int) -> None:
    expected = binomtest(right, n).proportion_ci(0.95, method="wilson")
    assert wilson(right, n) == pytest.approx((expected.low, expected.high))
    assert wilson(0, 0) == (0, 1)
    assert wilson(0, 5)[0] == 0 < wilson(0, 5)[1] < 1 == wilson(5, 5)[1]


def test_wilson_covers_a_share() -> None:
    ends = np.array([wilson(right, 110) for right in range(111)])
    shares = np.linspace(0.5, 0.97, 48)
    inside = (ends[:, :1] <= shares) & (shares <= ends[:, 1:])
    coverage = (inside * binom.pmf(np.arange(111)[:, None], 110, shares)).sum(axis=0)
    assert coverage.min() > 0.92
    assert coverage.mean() == pytest.approx(0.95, abs=0.01)


def test_paired_interval_by_hand() -> None:
    one, other = np.arange(50) < 45, np.arange(50) % 5 > 0
    # Only the first is correct on 9 texts, only the second on 4: (13 + 2 - 25 / 50) ** 0.5 / 50 * 1.959964 = 0.149267.
    assert paired_interval(one, other) == pytest.approx((0.1, -0.049267, 0.249267), abs=1e-5)
    assert paired_interval(one, one)[1:] == pytest.approx((-0.055436, 0.055436), abs=1e-5)


@pytest.mark.parametrize("shares", [(0.02, 0.02), (0.1, 0.1), (0.2, 0.05), (0.05, 0.0), (0.3, 0.1)])
def test_paired_interval_covers_the_difference(shares: tuple[float, float]) -> None:
    n, coverage = 40, 0.0
    for better in range(n + 1):
        for worse in range(n + 1 - better):
            one, other = np.arange(n) < better, np.arange(n) >= n - worse
            _, low, high = paired_interval(one, other)
            if low <= shares[0] - shares[1] <= high:
                coverage += multinomial.pmf([better, worse, n - better - worse], n, [*shares, 1 - sum(shares)])
    # Two models that hardly ever disagree are covered more often, since a disagreement is added to each side.
    assert coverage > 0.945
    assert coverage < (0.975 if min(shares) > 0.02 else 1)


def predictions(
    confusion: NDArray[np.float64], sizes: NDArray[np.int64], generator: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return predicted and true classes. ``confusion``: how each class is predicted; ``sizes``: texts of each class."""
    classes = range(len(sizes))
    predicted = [generator.choice(len(sizes), sizes[k], p=confusion[k]) for k in classes]
    return np.concatenate(predicted), np.repeat(classes, sizes)


@pytest.mark.parametrize(("sizes", "accuracy"), [((20, 20), 0.97), ((110, 110), 0.9), ((60, 20, 10, 5, 5, 5), 0.8)])
def test_macro_f1_interval_covers_macro_f1(
    sizes: tuple[int, ...], accuracy: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intervals, "DRAWS", 400)
    k, counts, repeats = len(sizes), np.array(sizes), 200
    confusion = np.full((k, k), (1 - accuracy) / (k - 1))
    np.fill_diagonal(confusion, accuracy)
    truth = float(intervals._macro_f1(confusion * counts[:, None]))
    generator, missed = np.random.default_rng(4), 0
    for seed in range(repeats):
        predicted, targets = predictions(confusion, counts, generator)
        low, high = macro_f1_interval(predicted, targets, k, seed)
        missed += not low <= truth <= high
    assert missed / repeats <= 0.09  # 95% within the noise of 200 repetitions; a bootstrap misses 30% of the first.


def test_macro_f1_interval_holds_the_measured_value() -> None:
    right = np.array([0, 1, 0, 1, 1])
    low, high = macro_f1_interval(right, right, 2, seed=0)
    assert (low < 0.8, high) == (True, 1)
    assert macro_f1_interval(np.tile(right, 40), np.tile(right, 40), 2, seed=0)[0] > 0.97
    assert macro_f1_interval(1 - right, right, 2, seed=0)[0] == 0
    # A class that is neither present nor predicted counts as 0 in the interval, as it does in macro-F1.
    assert macro_f1_interval(right, right, 3, seed=0)[1] == pytest.approx(2 / 3)
    predicted, targets = np.arange(60) * 7 % 5, np.arange(60) % 5
    low, high = macro_f1_interval(predicted, targets, 5, seed=1)
    assert low < f1_score(targets, predicted, average="macro") < high
    assert macro_f1_interval(predicted, targets, 5, seed=1) == (low, high)


@given(st.lists(st.tuples(st.integers(0, 10**7), st.integers(0, 10**7)), min_size=1, max_size=20))
def test_intervals_of_many_shares_are_those_of_one(pairs: list[tuple[int, int]]) -> None:
    hits, n = np.array([min(pair) for pair in pairs]), np.array([max(pair) for pair in pairs])
    low, high = wilson_intervals(hits, n)
    for place, (one, total) in enumerate(zip(hits, n, strict=True)):
        assert (low[place], high[place]) == pytest.approx(wilson(int(one), int(total)), abs=1e-9)


def test_the_interval_of_a_difference_is_that_of_its_source() -> None:
    # Newcombe 1998, table II, method 10: 56/70 - 48/80, 9/10 - 3/10, 10/10 - 0/10.
    low, high = difference_intervals(
        np.array([56, 9, 10]), np.array([70, 10, 10]), np.array([48, 3, 0]), np.array([80, 10, 10])
    )
    assert low == pytest.approx([0.0524, 0.1705, 0.6075], abs=5e-5)
    assert high == pytest.approx([0.3339, 0.8090, 1.0], abs=5e-5)
