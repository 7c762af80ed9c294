"""Metrics, checked against scikit-learn and against examples worked by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score

from tlnlp.evaluate.metrics import equal_mass_bins, evaluate, expected_calibration_error, paired_standard_error
from tlnlp.model.combine import softmax

CLASSES = ("a", "b", "c", "d")


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("texts", [1, 3, 200])
def test_metrics_agree_with_scikit_learn(texts: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    probabilities = softmax(generator.normal(size=(texts, 4)))
    # No text has the last class, but it may be predicted.
    targets = generator.integers(0, 3, texts)
    predicted, places = probabilities.argmax(axis=1), list(range(4))
    metrics = evaluate(probabilities, targets, CLASSES)
    assert metrics.n == texts
    assert metrics.accuracy == pytest.approx(accuracy_score(targets, predicted))
    expected = f1_score(targets, predicted, labels=places, average=None, zero_division=0)
    assert list(metrics.f1.values()) == pytest.approx(expected, abs=1e-6)
    assert metrics.macro_f1 == pytest.approx(expected.mean())
    matrix = [[metrics.confusion[true][label] for label in CLASSES] for true in CLASSES]
    assert matrix == confusion_matrix(targets, predicted, labels=places).tolist()


def test_calibration_error_by_hand() -> None:
    # Two bins of two texts: 0.61 and 0.62 (1 of 2 correct), 0.9 and 1.0 (1 of 2 correct), in any order of the texts.
    probabilities = np.array([[0.9, 0.1], [0.61, 0.39], [1.0, 0.0], [0.38, 0.62]])
    targets = np.array([0, 0, 1, 0])
    by_hand = 0.5 * abs(0.615 - 0.5) + 0.5 * abs(0.95 - 0.5)
    assert expected_calibration_error(probabilities, targets, bins=2) == pytest.approx(by_hand)
    assert expected_calibration_error(probabilities[::-1], targets[::-1], bins=2) == pytest.approx(by_hand)
    # With 15 bins, each of the four texts has a bin of its own.
    each = (0.1 + 0.39 + 1.0 + 0.62) / 4
    assert evaluate(probabilities, targets, ("a", "b")).ece == pytest.approx(each)


@pytest.mark.parametrize("texts", [1, 14, 15, 40, 1000])
def test_bins_hold_equally_many_texts_from_the_least_confident_to_the_most(texts: int) -> None:
    confidence = np.random.default_rng(texts).random(texts)
    bins = equal_mass_bins(confidence)
    sizes = [len(places) for places in bins]
    assert len(bins) == min(texts, 15)
    assert max(sizes) - min(sizes) <= 1
    assert sorted(np.concatenate(bins)) == list(range(texts))
    ends = [end for places in bins for end in (confidence[places].min(), confidence[places].max())]
    assert ends == sorted(ends)


def test_texts_of_equal_confidence_share_a_bin() -> None:
    # Bins cut by order would be all correct or all wrong, though 0.8 of the texts are correct at confidence 0.8.
    probabilities, targets = np.tile([0.8, 0.2], (30, 1)), np.arange(30) // 24
    assert [len(places) for places in equal_mass_bins(probabilities.max(axis=1))] == [30]
    assert expected_calibration_error(probabilities, targets) == pytest.approx(0)


def test_gaps_of_confident_texts_do_not_cancel_out_in_one_bin() -> None:
    # At 0.95, 85 of 100 are correct; at 0.99, all are. In one bin of equal width the gaps would cancel out.
    probabilities = np.concatenate([np.tile([0.95, 0.05], (100, 1)), np.tile([0.99, 0.01], (100, 1))])
    targets = np.concatenate([np.arange(100) // 85, np.zeros(100, dtype=np.int64)])
    assert expected_calibration_error(probabilities, targets) == pytest.approx((0.1 + 0.01) / 2)


def test_calibration_error_of_a_calibrated_model_is_small() -> None:
    generator = np.random.default_rng(0)
    probabilities = softmax(generator.normal(size=(20_000, 3)) * 2)
    targets = np.array([generator.choice(3, p=row) for row in probabilities])
    assert expected_calibration_error(probabilities, targets) < 0.015
    overconfident = softmax(np.log(probabilities) * 3)
    assert expected_calibration_error(overconfident, targets) > 0.1


def test_figures_are_json() -> None:
    metrics = evaluate(np.array([[0.2, 0.8], [0.7, 0.3]]), np.array([1, 1]), ("no", "yes"))
    again = json.loads(json.dumps(metrics.to_json()))
    assert again["confusion"] == {"no": {"no": 0, "yes": 0}, "yes": {"no": 1, "yes": 1}}
    assert (again["n"], again["accuracy"]) == (2, 0.5)


def test_paired_standard_error_depends_on_disagreements_alone() -> None:
    right = np.arange(100) < 80
    other = np.arange(100) < 71
    assert paired_standard_error(right, other) == pytest.approx(0.03)
    assert paired_standard_error(right, right) == 0.0
