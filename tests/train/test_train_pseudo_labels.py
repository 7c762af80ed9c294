"""Pseudo-labels of documents, and the examples that a student encoder learns from."""

from __future__ import annotations

import numpy as np
import pytest

from tlnlp.model.tokenize import TokenIds
from tlnlp.train.co_training_round import RoundPredictions, round_summary, student_examples
from tlnlp.train.dataset import Examples
from tlnlp.train.pseudo_labels import Documents, PseudoLabels, confidence


def test_the_latest_pseudo_label_of_a_document_counts() -> None:
    first = PseudoLabels(["a", "b", "c"], np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]]))
    again = PseudoLabels(["b", "d"], np.array([[0.1, 0.9], [0.5, 0.5]]))
    latest = again + first.without(again.texts)
    assert latest.texts == ["b", "d", "a", "c"]
    assert latest.probabilities.tolist() == [[0.1, 0.9], [0.5, 0.5], [0.9, 0.1], [0.3, 0.7]]


def test_confidence_and_the_summary_of_a_round() -> None:
    probabilities = np.array([[0.25, 0.25, 0.25, 0.25], [1.0, 0, 0, 0], [0.625, 0.125, 0.125, 0.125]])
    assert confidence(probabilities) == pytest.approx([0.0, 1.0, 0.5])
    other = probabilities[[0, 0, 2]]
    pseudo_labels = PseudoLabels(["a", "b", "c"], probabilities)
    predictions = RoundPredictions(
        [None] * 3, pseudo_labels, other, probabilities, None, probabilities, other, (1.0, 0.0)  # type: ignore[arg-type]
    )  # fmt: skip
    assert round_summary(4, predictions) == {
        "round": 4,
        "documents": 3,
        "agreement": 1.0,
        "sure": 0.6667,
        "expected": 0.625,
    }


def test_students_learn_from_confident_documents_and_from_each_label() -> None:
    combined = np.array([[0.95, 0.05], [0.55, 0.45], [0.3, 0.7]])
    tokens, none = TokenIds.of([[1, 10, 2], [1, 11, 2], [1, 12, 2]]), np.zeros((0, 2))
    predictions = RoundPredictions(
        Documents(["a", "b", "c"], tokens, tokens), PseudoLabels([], none), none, combined, None, none, none, (1.0, 0.0)  # type: ignore[arg-type]
    )  # fmt: skip
    labels = TokenIds.of([[1, 20, 2]])
    examples = Examples(None, ["d"], labels, labels, np.array([1]), ("bad", "good"))  # type: ignore[arg-type]
    texts, targets, weights = student_examples(predictions, examples)
    assert [ids[1] for ids in texts] == [10, 12, 20]
    assert targets == pytest.approx(np.array([[0.95, 0.05], [0.3, 0.7], [0.0, 1.0]]))
    assert weights == pytest.approx([0.9, 0.4, 1.0])
