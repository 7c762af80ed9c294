"""Figures of merit, held against scikit-learn's and against examples worked by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score

from tlnlp.model.combine import softmax
from tlnlp.train.metrics import evaluate, expected_calibration_error, paired_standard_error

CLASSES = ("a", "b", "c", "d")


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("texts", [1, 3, 200])
def test_as_scikit_learn_has_it(texts: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    probabilities = softmax(generator.normal(size=(texts, 4)))
    # The last class is in no text, and may be predicted.
    targets = generator.integers(0, 3, texts)
    predicted, places = probabilities.argmax(axis=1), list(range(4))
    found = evaluate(probabilities, targets, CLASSES)
    assert found.n == texts
    assert found.accuracy == pytest.approx(accuracy_score(targets, predicted))
    expected = f1_score(targets, predicted, labels=places, average=None, zero_division=0)
    assert list(found.f1.values()) == pytest.approx(expected, abs=1e-6)
    assert found.macro_f1 == pytest.approx(expected.mean())
    matrix = [[found.confusion[true][guess] for guess in CLASSES] for true in CLASSES]
    assert matrix == confusion_matrix(targets, predicted, labels=places).tolist()


def test_calibration_error_by_hand() -> None:
    # Bins of 1/15: 0.61 and 0.62 share one (1 of 2 right), 0.9 has one (right), 1.0 the last (wrong).
    probabilities = np.array([[0.61, 0.39], [0.38, 0.62], [0.9, 0.1], [1.0, 0.0]])
    targets = np.array([0, 0, 0, 1])
    by_hand = 0.5 * abs(0.615 - 0.5) + 0.25 * abs(0.9 - 1) + 0.25 * abs(1.0 - 0)
    assert expected_calibration_error(probabilities, targets) == pytest.approx(by_hand)
    assert evaluate(probabilities, targets, ("a", "b")).ece == pytest.approx(by_hand)


def test_calibration_error_of_a_calibrated_model_is_small() -> None:
    generator = np.random.default_rng(0)
    probabilities = softmax(generator.normal(size=(20_000, 3)) * 2)
    targets = np.array([generator.choice(3, p=row) for row in probabilities])
    assert expected_calibration_error(probabilities, targets) < 0.015
    overconfident = softmax(np.log(probabilities) * 3)
    assert expected_calibration_error(overconfident, targets) > 0.1


def test_figures_are_json() -> None:
    found = evaluate(np.array([[0.2, 0.8], [0.7, 0.3]]), np.array([1, 1]), ("no", "yes"))
    again = json.loads(json.dumps(found.to_json()))
    assert again["confusion"] == {"no": {"no": 0, "yes": 0}, "yes": {"no": 1, "yes": 1}}
    assert (again["n"], again["accuracy"]) == (2, 0.5)


def test_two_models_that_differ_on_few_texts_are_told_apart_by_those() -> None:
    right = np.arange(100) < 80
    other = np.arange(100) < 71
    assert paired_standard_error(right, other) == pytest.approx(0.03)
    assert paired_standard_error(right, right) == 0.0
