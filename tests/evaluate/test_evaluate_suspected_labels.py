"""Labels that are probably wrong: by hand, and how many planted ones are found at the stated rate of false alarms."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tlnlp.evaluate.suspected_labels import FALSE_ALARM_SHARE, MAX_SUSPECTS, LabelPlace, suspected_labels
from tlnlp.model.combine import Floats, softmax


def places(targets: NDArray[np.int64], classes: str = "abcdef") -> list[LabelPlace]:
    return [LabelPlace("x.csv", row, classes[k], f"{row:064}") for row, k in enumerate(targets, 1)]


def test_suspected_labels_by_hand() -> None:
    # Sixty texts: 30 labelled a with probability 0.9, 30 labelled b with 0.8, except for four.
    targets = np.repeat([0, 1], 30)
    probabilities = np.where(targets[:, None] == 0, [0.9, 0.1], [0.2, 0.8])
    probabilities[[3, 40, 41, 42]] = [[0.05, 0.95], [0.97, 0.03], [0.92, 0.08], [0.94, 0.06]]
    result = suspected_labels(probabilities, targets, "ab", places(targets))
    # 5% of 60 labels are three; of each class at most two. Row 42 is the third of class b.
    assert [(one["row"], one["label"], one["predicted"], one["probability"]) for one in result] == [
        (41, "b", "a", 0.97),
        (4, "a", "b", 0.95),
        (43, "b", "a", 0.94),
    ]
    assert result[0] == {
        "file": "x.csv",
        "row": 41,
        "label": "b",
        "text_sha256": f"{41:064}",
        "predicted": "a",
        "probability": 0.97,
    }
    # A prediction below the mean probability of its class contradicts no label.
    probabilities[3] = [0.48, 0.52]
    assert 4 not in [one["row"] for one in suspected_labels(probabilities, targets, "ab", places(targets))]


def test_a_class_without_labels_makes_none_suspect() -> None:
    targets = np.repeat([0, 1], 20)
    probabilities = np.where(targets[:, None] == 0, [0.9, 0.1, 0.0], [0.1, 0.9, 0.0])
    probabilities[5] = [0.1, 0.0, 0.9]
    assert suspected_labels(probabilities, targets, "abc", places(targets)) == []
    # The same text is suspect where the class has labels, even though the model never predicts them well.
    targets[[38, 39]] = 2
    probabilities[[38, 39]] = [0.1, 0.5, 0.4]
    assert [one["row"] for one in suspected_labels(probabilities, targets, "abc", places(targets))] == [6]


def test_a_rare_class_does_not_fill_the_list() -> None:
    # The model has learned nothing of the rare class c: it contradicts all ten of its labels.
    targets = np.repeat([0, 1, 2], [100, 100, 10])
    probabilities = np.where(targets[:, None] == 0, [0.8, 0.1, 0.1], [0.1, 0.8, 0.1])
    probabilities[-10:] = [0.9, 0.05, 0.05]
    assert [one["label"] for one in suspected_labels(probabilities, targets, "abc", places(targets))] == ["c"]


def test_the_list_is_bounded() -> None:
    generator = np.random.default_rng(0)
    probabilities, targets = generator.dirichlet((1, 1), 4000), generator.integers(0, 2, 4000)
    result = suspected_labels(probabilities, targets, "ab", places(targets))
    assert len(result) == MAX_SUSPECTS
    listed = [one["probability"] for one in result]
    assert listed == sorted(listed, reverse=True)
    few = suspected_labels(probabilities[:19], targets[:19], "ab", places(targets[:19]))
    assert few == []  # 5% of fewer than twenty labels is not a whole label.


def drawn(
    texts: int, classes: int, flipped: float, sharp: float, generator: np.random.Generator
) -> tuple[Floats, NDArray[np.int64], NDArray[np.bool_]]:
    """Return calibrated probabilities, labels drawn from them, and which of the labels were then flipped."""
    scores = generator.normal(size=(texts, classes)) + 5 * np.eye(classes)[generator.integers(0, classes, texts)]
    probabilities = softmax(scores)
    truth = (probabilities.cumsum(axis=1) > generator.random(texts)[:, None]).argmax(axis=1)
    flips = generator.random(texts) < flipped
    labels = np.where(flips, (truth + generator.integers(1, classes, texts)) % classes, truth)
    # Sharper or flatter than calibrated: the rate must not hang on the calibration.
    return softmax(scores * sharp), labels, flips


@pytest.mark.parametrize("sharp", [0.6, 1.0, 1.8])
@pytest.mark.parametrize("flipped", [0.0, 0.05, 0.1])
@pytest.mark.parametrize(("texts", "classes"), [(60, 2), (220, 2), (220, 6), (1000, 6)])
def test_false_alarms_keep_to_the_stated_share_and_flips_are_found(
    texts: int, classes: int, flipped: float, sharp: float
) -> None:
    generator, correct, planted, alarms, found = np.random.default_rng(1), 0, 0, 0, 0
    for _ in range(40):
        probabilities, labels, flips = drawn(texts, classes, flipped, sharp, generator)
        listed = [one["row"] - 1 for one in suspected_labels(probabilities, labels, "abcdef", places(labels))]
        assert len(listed) <= FALSE_ALARM_SHARE * texts
        correct, planted = correct + int((~flips).sum()), planted + int(flips.sum())
        alarms, found = alarms + int((~flips)[listed].sum()), found + int(flips[listed].sum())
    assert alarms / correct <= FALSE_ALARM_SHARE
    if flipped:
        # No list of 5% can hold more than half of 10% flips.
        possible = min(1, FALSE_ALARM_SHARE / flipped)
        assert found / planted > 0.5 * possible
        assert found / (found + alarms) > 0.5
