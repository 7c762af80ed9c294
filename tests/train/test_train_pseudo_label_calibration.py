"""How far what documents say is believed, before and after a round."""

from __future__ import annotations

import numpy as np
import pytest

from tlnlp.model.combine import Floats, combine, expected_error, softmax
from tlnlp.train.pseudo_label_calibration import (
    BOTH_ERROR,
    TAUGHT_ERROR,
    TAUGHT_SHARE,
    PseudoLabelCalibration,
    disagreement,
    drawn_error,
    sharpened,
)


def said(seed: int, texts: int = 3000) -> tuple[Floats, Floats]:
    """What two views say of the same texts."""
    generator = np.random.default_rng(seed)
    truth = generator.normal(size=(texts, 3)) * 2
    first, second = (softmax(truth + generator.normal(size=(texts, 3))) for _ in range(2))
    return first, second


def test_before_a_round_held_out_labels_say_how_sure_to_be() -> None:
    near, ngram = said(1)
    calibration = PseudoLabelCalibration(0.3, 2.0)
    assert expected_error(calibration.near(near)) == pytest.approx(0.3, abs=0.005)
    weights = calibration.weights(near, ngram)
    assert weights[1] / weights[0] == pytest.approx(
        2 * np.divide(*PseudoLabelCalibration(0.3, 1.0).weights(near, ngram)[::-1])
    )
    assert expected_error(combine(near, ngram, *weights)) == pytest.approx(expected_error(near), abs=0.005)


def test_after_a_round_error_falls_as_disagreement_does() -> None:
    near, ngram = said(2)
    calibration = PseudoLabelCalibration(0.3, 2.0).after(near, ngram)
    assert calibration.first == (expected_error(near), disagreement(near, ngram))
    error, disagreed = calibration.first
    assert expected_error(calibration.near(near**3)) == pytest.approx(TAUGHT_ERROR * error, abs=0.005)
    # Views that have come half the way to one another.
    closer = np.where((np.arange(len(near)) % 2 == 0)[:, None], near, ngram)
    assert disagreement(near, closer) == pytest.approx(disagreed / 2, rel=0.1)
    both = combine(near, closer, *calibration.weights(near, closer))
    assert expected_error(both) == pytest.approx(BOTH_ERROR * error * disagreement(near, closer) / disagreed, abs=0.005)
    # Further apart than they were is no reason to believe less than before.
    apart = combine(near, ngram[::-1], *calibration.weights(near, ngram[::-1]))
    assert expected_error(apart) == pytest.approx(BOTH_ERROR * error, abs=0.005)
    # What the first round was stays what it was.
    assert calibration.after(near, closer) == calibration


def test_a_taught_encoder_leaves_less_to_n_grams() -> None:
    near, ngram = said(3)
    before = PseudoLabelCalibration(0.3, 1.0)
    first, second = before.weights(near, ngram), before.after(near, ngram).weights(near, ngram)
    assert second[1] / second[0] == pytest.approx(TAUGHT_SHARE * first[1] / first[0])


def test_n_grams_count_for_more_where_they_learn_from_more_documents() -> None:
    near, ngram = said(3)
    some = PseudoLabelCalibration(0.3, 0.8)
    assert some.among(1.0) == some
    assert some.among(8.0).share == pytest.approx(1.6)
    assert np.divide(*some.among(8.0).weights(near, ngram)) < np.divide(*some.weights(near, ngram))


def test_few_held_out_labels_leave_more_to_what_spreading_says_of_itself() -> None:
    none, half = np.zeros(200, dtype=bool), np.arange(200) % 2 == 0
    assert drawn_error(half, 0.5) == drawn_error(half[:8], 0.5) == 0.5
    assert drawn_error(none[:8], 0.2) == pytest.approx(0.1)
    assert drawn_error(none, 0.2) < 0.01


def test_documents_tell_how_sharp_labels_among_them_are() -> None:
    near, _ = said(4)
    of_labels = sharpened(near[:20], 0.3, of=near)
    assert of_labels == pytest.approx(sharpened(near, 0.3)[:20])
