"""Tests of the choice of an engine: a faster one scores only if it decides as the reference does."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from tlnlp.config import EngineGateSettings
from tlnlp.evaluate.engine_gate import READ_BY_ALL, TEXTS_AT_ONCE, Rows, choose_engine, upper_limit
from tlnlp.model.combine import Floats
from tlnlp.model.tokenize import Ids

LIMITS = EngineGateSettings(changed_share=0.05, mean_difference=0.02)
TEXTS = [[number] for number in range(40)]


@dataclass
class Scripted:
    """An engine that gives each text a probability, at its own speed, and knows how many texts it has read.

    Every tenth text is doubtful. Of these, every hundredth text is decided otherwise with ``slips``.
    """

    wait_s: float
    shift: float = 0.0
    flipped: tuple[int, ...] = ()
    slips: bool = False
    read: int = 0

    def predict(self, encoded: Sequence[Ids]) -> Floats:
        time.sleep(self.wait_s)
        self.read += len(encoded)
        first = np.array([0.1 + self.shift if ids[0] not in self.flipped else 0.6 for ids in encoded])
        for place, (number,) in enumerate(encoded):
            if number >= READ_BY_ALL and number % 10 == 0:
                first[place] = 0.505 if self.slips and number % 100 == 0 else 0.495
        return np.column_stack([first, 1.0 - first])


def same(probabilities: Floats, rows: Rows) -> Floats:
    return probabilities


def chosen(**engines: Scripted) -> tuple[str, list[str | None]]:
    best, trials = choose_engine(engines, TEXTS, same, LIMITS, most_s=30.0)
    assert [one.texts for one in trials] == [len(TEXTS)] * len(engines)
    return best, [one.refused for one in trials]


def test_the_faster_one_that_decides_alike_scores() -> None:
    assert chosen(reference=Scripted(0.02), fast=Scripted(0.0, shift=0.01)) == ("fast", [None, None])


def test_one_that_is_hardly_faster_does_not_score() -> None:
    assert chosen(reference=Scripted(0.1), fast=Scripted(0.1)) == ("reference", [None, None])


def test_one_that_changes_labels_does_not_score() -> None:
    best, refused = chosen(reference=Scripted(0.02), fast=Scripted(0.0, flipped=(3, 30, 39)))
    assert best == "reference"
    assert refused[1] == "it changes the label of 3 of 40 texts (at most 5.0% is allowed)"


def test_one_that_changes_sure_labels_does_not_score() -> None:
    best, refused = chosen(reference=Scripted(0.02), fast=Scripted(0.0, flipped=(3,)))
    assert best == "reference"
    assert refused[1] == "it is expected to decide 2.00% more texts wrongly (at most 0.1% is allowed)"


def test_one_that_moves_probabilities_does_not_score() -> None:
    best, refused = chosen(reference=Scripted(0.02), fast=Scripted(0.0, shift=0.05))
    assert best == "reference"
    assert refused[1] == "it moves probabilities by 0.0500 on average (at most 0.02 is allowed)"


def test_what_was_measured() -> None:
    engines = {"reference": Scripted(0.01), "fast": Scripted(0.0, shift=0.005, flipped=(7,))}
    _, trials = choose_engine(engines, TEXTS, same, LIMITS, most_s=30.0)
    fast = trials[1].to_json()
    assert (fast["engine"], fast["changed"], fast["texts"]) == ("fast", 1, 40)
    assert fast["largest_difference"] == pytest.approx(0.5)
    assert fast["mean_difference"] == pytest.approx((39 * 0.005 + 0.5) / 40)
    assert fast["changed_share_bound"] == pytest.approx(0.1134, abs=1e-3)
    assert fast["expected_loss"] == pytest.approx(0.8 / 40)
    assert trials[0].to_json()["changed"] == 0


def test_later_texts_are_read_by_the_reference_where_the_fast_one_is_doubtful() -> None:
    many = [[number] for number in range(READ_BY_ALL + 936)]
    engines = {"reference": Scripted(0.01), "fast": Scripted(0.0, shift=0.004, slips=True)}
    best, trials = choose_engine(engines, many, same, LIMITS, most_s=30.0)
    assert (best, trials[1].texts, trials[1].changed) == ("fast", 1000, 9)
    assert trials[1].largest_difference == pytest.approx(0.004)
    # One text warms up; then the first ones, and one in ten of the others.
    assert engines["reference"].read == 1 + READ_BY_ALL + 93
    strict = EngineGateSettings(changed_share=0.008, mean_difference=0.02)
    assert choose_engine(engines, many, same, strict, most_s=30.0)[0] == "reference"


def test_the_time_limits_the_texts() -> None:
    _, trials = choose_engine({"reference": Scripted(0.05), "fast": Scripted(0.0)}, TEXTS, same, LIMITS, most_s=0.01)
    assert trials[0].texts == TEXTS_AT_ONCE


def test_the_decision_is_on_final_probabilities() -> None:
    # The n-gram view outweighs what the engine changes.
    engines = {"reference": Scripted(0.02), "fast": Scripted(0.0, flipped=tuple(range(40)))}
    best, trials = choose_engine(engines, TEXTS, lambda given, part: np.full_like(given, 0.5), LIMITS, most_s=30.0)
    assert (best, trials[1].changed) == ("fast", 0)


def test_the_exact_limit() -> None:
    # None of 59 is the least that shows a share below 5% with 95% confidence.
    assert upper_limit(0, 59) < 0.05 < upper_limit(0, 58)
    assert (upper_limit(0, 0), upper_limit(3, 3)) == (1.0, 1.0)
