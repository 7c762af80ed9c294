"""Calibration of pseudo-labels before and after the first round."""

from __future__ import annotations

import numpy as np
import pytest

from tlnlp.model.calibration import expected_error
from tlnlp.model.combine import Floats, combine, softmax
from tlnlp.train.pseudo_label_calibration import PseudoLabelCalibration, disagreement, sharpened, shrunken_error
from tlnlp.train.tuned_constants import TUNED


def two_views(seed: int, texts: int = 3000) -> tuple[Floats, Floats]:
    """Return the probabilities of the same texts by two views."""
    generator = np.random.default_rng(seed)
    truth = generator.normal(size=(texts, 3)) * 2
    first, second = (softmax(truth + generator.normal(size=(texts, 3))) for _ in range(2))
    return first, second


def test_before_the_first_round_held_out_labels_set_the_error() -> None:
    propagated, ngram = two_views(1)
    calibration = PseudoLabelCalibration(0.3, 2.0)
    assert expected_error(calibration.calibrated(propagated)) == pytest.approx(0.3, abs=0.005)
    weights = calibration.weights(propagated, ngram)
    assert weights[1] / weights[0] == pytest.approx(
        2 * np.divide(*PseudoLabelCalibration(0.3, 1.0).weights(propagated, ngram)[::-1])
    )
    assert expected_error(combine(propagated, ngram, *weights)) == pytest.approx(expected_error(propagated), abs=0.005)


def test_after_a_round_error_falls_with_disagreement() -> None:
    propagated, ngram = two_views(2)
    calibration = PseudoLabelCalibration(0.3, 2.0).after(propagated, ngram)
    assert calibration.first == (expected_error(propagated), disagreement(propagated, ngram))
    error, disagreed = calibration.first
    assert expected_error(calibration.calibrated(propagated**3)) == pytest.approx(
        TUNED.student_error * error, abs=0.005
    )
    # The views now agree on half of the documents that they disagreed on.
    closer = np.where((np.arange(len(propagated)) % 2 == 0)[:, None], propagated, ngram)
    assert disagreement(propagated, closer) == pytest.approx(disagreed / 2, rel=0.1)
    combined = combine(propagated, closer, *calibration.weights(propagated, closer))
    assert expected_error(combined) == pytest.approx(
        TUNED.combined_error * error * disagreement(propagated, closer) / disagreed, abs=0.005
    )
    # More disagreement than before does not raise the error.
    apart = combine(propagated, ngram[::-1], *calibration.weights(propagated, ngram[::-1]))
    assert expected_error(apart) == pytest.approx(TUNED.combined_error * error, abs=0.005)
    # Later rounds do not change the record of the first round.
    assert calibration.after(propagated, closer) == calibration


def test_n_grams_count_for_less_after_the_first_round() -> None:
    propagated, ngram = two_views(3)
    before = PseudoLabelCalibration(0.3, 1.0)
    first, second = before.weights(propagated, ngram), before.after(propagated, ngram).weights(propagated, ngram)
    assert second[1] / second[0] == pytest.approx(TUNED.student_share * first[1] / first[0])


def test_n_grams_count_for_more_where_they_learn_from_more_documents() -> None:
    propagated, ngram = two_views(3)
    some = PseudoLabelCalibration(0.3, 0.8)
    assert some.among(1.0) == some
    assert some.among(8.0).share == pytest.approx(1.6)
    assert np.divide(*some.among(8.0).weights(propagated, ngram)) < np.divide(*some.weights(propagated, ngram))


def test_with_few_held_out_labels_the_expected_error_counts_for_more() -> None:
    none, half = np.zeros(200, dtype=bool), np.arange(200) % 2 == 0
    assert shrunken_error(half, 0.5) == shrunken_error(half[:8], 0.5) == 0.5
    assert shrunken_error(none[:8], 0.2) == pytest.approx(0.1)
    assert shrunken_error(none, 0.2) < 0.01


def test_labels_are_sharpened_as_the_documents_around_them() -> None:
    propagated, _ = two_views(4)
    of_labels = sharpened(propagated[:20], 0.3, of=propagated)
    assert of_labels == pytest.approx(sharpened(propagated, 0.3)[:20])
