"""Tests of the choice of an engine: a faster one scores only if it decides as the reference does."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from tlnlp.config import EngineGateSettings
from tlnlp.evaluate.engine_gate import TEXTS_AT_ONCE, choose_engine, upper_limit
from tlnlp.model.combine import Floats
from tlnlp.model.tokenize import Ids

LIMITS = EngineGateSettings(changed_share=0.05, mean_difference=0.02)
TEXTS = [[number] for number in range(40)]


@dataclass
class Scripted:
    """An engine that gives text ``n`` the probability ``p(n)``, at its own speed."""

    wait_s: float
    shift: float = 0.0
    flipped: tuple[int, ...] = ()

    def predict(self, encoded: Sequence[Ids]) -> Floats:
        time.sleep(self.wait_s)
        first = np.array([0.1 + self.shift if ids[0] not in self.flipped else 0.6 for ids in encoded])
        return np.column_stack([first, 1.0 - first])


def same(probabilities: Floats, part: slice) -> Floats:
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
    assert trials[0].to_json()["changed"] == 0


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
