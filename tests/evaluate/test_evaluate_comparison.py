"""The paired comparison of two versions: the difference, its lower limit, and what so many labels can detect."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tlnlp.evaluate.evaluation import VersionPredictions
from tlnlp.evaluate.promotion_gate import compare
from tlnlp.registry import ModelVersion


def predictions(correct: list[bool]) -> VersionPredictions:
    """Return predictions of a version on texts whose class is always 0."""
    probabilities = np.array([[0.9, 0.1] if right else [0.1, 0.9] for right in correct])
    version = ModelVersion("m", 1, "file:///nowhere")
    return VersionPredictions(version, ("a", "b"), probabilities, np.zeros(len(correct), dtype=np.int64), 0, 0)


def outcomes(both: int, candidate: int, champion: int) -> dict[str, Any]:
    one = predictions([True] * both + [True] * candidate + [False] * champion)
    other = predictions([True] * both + [False] * candidate + [True] * champion)
    return vars(compare(one, other, 0.95))


def test_comparison_by_hand() -> None:
    # Of 200 texts, only the candidate predicts 30 correctly, and only the champion 10.
    comparison = outcomes(160, 30, 10)
    assert comparison["n"] == 200
    assert (comparison["candidate"], comparison["champion"]) == (pytest.approx(0.95), pytest.approx(0.85))
    assert comparison["difference"] == pytest.approx(0.1)
    standard_error = (42 - 400 / 200) ** 0.5 / 200
    assert comparison["lower"] == pytest.approx(0.1 - 1.6448536 * standard_error)
    assert comparison["detectable"] == pytest.approx((1.6448536 + 0.8416212) * standard_error)


def test_agreement_alone_does_not_make_the_interval_zero() -> None:
    few, many = outcomes(50, 0, 0), outcomes(5000, 0, 0)
    assert few["difference"] == many["difference"] == 0
    assert few["lower"] < -0.04 < -0.001 < many["lower"] < 0


def test_more_labels_detect_smaller_differences() -> None:
    assert outcomes(1600, 200, 200)["detectable"] < outcomes(160, 20, 20)["detectable"]
    assert outcomes(160, 20, 20)["lower"] < outcomes(1600, 200, 200)["lower"] < 0
