"""Tests of the combination of two views, and of the fit of its weights."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tlnlp.model.calibration import (
    SHRINKAGE,
    expected_error,
    fit_share,
    fit_sharpness,
    fit_weights,
    log_loss,
    unlabelled_pool_weights,
)
from tlnlp.model.combine import Floats, combine, softmax

Targets = NDArray[np.int64]


def drawn(texts: int, classes: int, sharpness: float, seed: int) -> tuple[Floats, Targets]:
    """Return calibrated probabilities (texts, classes), and class indices drawn from them."""
    generator = np.random.default_rng(seed)
    probabilities = softmax(generator.normal(size=(texts, classes)) * sharpness)
    return probabilities, np.array([generator.choice(classes, p=row) for row in probabilities])


def test_softmax_is_stable_and_sums_to_one() -> None:
    scores = np.array([[1000.0, 999.0], [-1000.0, 1000.0], [0.0, 0.0]])
    out = softmax(scores)
    assert np.isfinite(out).all()
    assert out.sum(axis=1) == pytest.approx(1.0)
    assert out[2] == pytest.approx([0.5, 0.5])


def test_one_view_as_it_is() -> None:
    encoder, _ = drawn(50, 4, 2.0, 1)
    ngram, _ = drawn(50, 4, 2.0, 2)
    assert combine(encoder, ngram, 1.0, 0.0) == pytest.approx(encoder, abs=1e-6)
    assert combine(encoder, ngram, 0.0, 1.0) == pytest.approx(ngram, abs=1e-6)


def test_certainty_of_one_view_is_not_infinite() -> None:
    out = combine(np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]]), 1.0, 1.0)
    assert out == pytest.approx(np.array([[0.5, 0.5]]))


def test_two_views_that_agree_are_surer_than_either() -> None:
    view = np.array([[0.7, 0.3]])
    assert combine(view, view, 1.0, 1.0)[0, 0] == pytest.approx(0.49 / 0.58)


@pytest.mark.parametrize("needed", [0.4, 1.0, 1.8])
@pytest.mark.parametrize("classes", [2, 5])
def test_a_needed_temperature_is_found(needed: float, classes: int) -> None:
    calibrated, targets = drawn(3000, classes, 2.0, 3)
    # Sharper or flatter than calibrated, by the factor that the weight must undo.
    view = softmax(np.log(calibrated) / needed)
    flat = np.full_like(view, 1 / classes)
    weight, _ = fit_weights(view, flat, targets)
    assert weight == pytest.approx(needed, rel=0.12)
    fitted = combine(view, flat, weight, 0.0)
    truth = np.eye(classes)[targets]
    assert log_loss(fitted, truth) <= log_loss(view, truth) + 1e-4


def test_a_random_encoder_gives_way_to_the_ngrams() -> None:
    ngram, targets = drawn(400, 3, 3.0, 4)
    noise, _ = drawn(400, 3, 1.0, 5)
    encoder_weight, ngram_weight = fit_weights(noise, ngram, targets)
    assert ngram_weight > 2 * encoder_weight
    both = combine(noise, ngram, encoder_weight, ngram_weight)
    assert (both.argmax(1) == targets).mean() >= (noise.argmax(1) == targets).mean() + 0.2


def test_a_useless_ngram_view_is_left_out() -> None:
    encoder, targets = drawn(400, 3, 3.0, 6)
    noise, _ = drawn(400, 3, 1.0, 7)
    encoder_weight, ngram_weight = fit_weights(encoder, noise, targets)
    assert ngram_weight <= 0.1
    assert 0.7 < encoder_weight < 1.4


def test_ties_go_to_the_encoder_as_it_is() -> None:
    flat = np.full((10, 2), 0.5)
    encoder_weight, ngram_weight = fit_weights(flat, flat, np.zeros(10, dtype=np.int64))
    assert encoder_weight == pytest.approx(1.0, abs=0.05)
    assert ngram_weight == 0.0


def test_few_texts_move_the_weights_little_and_many_much() -> None:
    # The n-gram view is right with high probability; the encoder has equal probabilities for all classes.
    targets = np.arange(2000) % 2
    right = np.where(targets[:, None] == np.arange(2), 0.9, 0.1)
    even = np.full((2000, 2), 0.5)
    few, many = fit_weights(even[:4], right[:4], targets[:4])[1], fit_weights(even, right, targets)[1]
    assert few < 0.5 * many


def test_the_power_that_target_probabilities_need() -> None:
    truth, _ = drawn(2000, 3, 2.0, 8)
    assert fit_sharpness(softmax(np.log(truth) * 2), truth)[0] == pytest.approx(0.5, rel=0.1)
    assert fit_sharpness(truth, truth)[0] == pytest.approx(1.0, rel=0.1)
    # A handful of texts must not move it far.
    assert 0.5 < fit_sharpness(softmax(np.log(truth[:4]) * 2), truth[:4], SHRINKAGE)[0] < 1.0


def test_a_pool_is_no_more_confident_than_its_calibrated_probabilities() -> None:
    generator = np.random.default_rng(9)
    calibrated, targets = drawn(4000, 2, 2.0, 9)
    # The n-gram view is the truth with independent noise.
    ngram = softmax(np.eye(2)[targets] * 2 + generator.normal(size=(4000, 2)) * 2)
    calibrated_weight, ngram_weight = unlabelled_pool_weights(calibrated, ngram)
    both = combine(calibrated, ngram, calibrated_weight, ngram_weight)
    assert (both.argmax(axis=1) == targets).mean() > (calibrated.argmax(axis=1) == targets).mean()
    assert both.max(axis=1).mean() <= calibrated.max(axis=1).mean() + 0.01
    # A given expected error is reached.
    pooled = combine(calibrated, ngram, *unlabelled_pool_weights(calibrated, ngram, 1.0, 0.05))
    assert expected_error(pooled) == pytest.approx(0.05, abs=0.005)
    # A view without information has no weight.
    assert unlabelled_pool_weights(calibrated, np.full_like(calibrated, 0.5))[0] == pytest.approx(1.0, rel=0.1)


def test_labels_determine_the_share_of_the_n_gram_view() -> None:
    generator = np.random.default_rng(10)
    calibrated, targets = drawn(2000, 3, 2.0, 10)
    truth = np.eye(3)[targets]
    informative = softmax(truth * 2 + generator.normal(size=(2000, 3)))
    redundant = softmax(np.log(calibrated) + generator.normal(size=(2000, 3)))
    assert fit_share(calibrated, informative, truth) > 1.5
    assert fit_share(calibrated, redundant, truth) < 0.6
    # Few texts move it less.
    assert 1.0 <= fit_share(calibrated[:10], informative[:10], truth[:10]) < fit_share(calibrated, informative, truth)
    assert 1.0 >= fit_share(calibrated[:10], redundant[:10], truth[:10]) > fit_share(calibrated, redundant, truth)
