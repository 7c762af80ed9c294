"""The figures of a report, checked against scikit-learn, slow references and examples worked by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_fscore_support

from tlnlp.evaluate.intervals import wilson
from tlnlp.evaluate.learning_curve import CurvePoint
from tlnlp.evaluate.metrics import expected_calibration_error
from tlnlp.evaluate.report_figures import HeldOut, findings, reliability
from tlnlp.evaluate.suspected_labels import LabelPlace
from tlnlp.model.combine import Floats, softmax


def random_predictions(texts: int, classes: int, seed: int = 0, sharp: float = 1.5) -> tuple[Floats, NDArray[np.int64]]:
    """Return probabilities that are mostly correct, and targets that hold the classes in turn."""
    generator = np.random.default_rng(seed)
    targets = np.arange(texts) % classes
    scores = generator.normal(size=(texts, classes))
    scores[np.arange(texts), targets] += sharp
    return softmax(scores), targets


def report(texts: int, classes: int, **changes: Any) -> dict[str, Any]:
    after, targets = random_predictions(texts, classes)
    names = tuple(f"c{k:02}" for k in range(classes))
    held = HeldOut(
        classes=names,
        targets=targets,
        places=[LabelPlace("a.csv", i + 1, names[k], f"{i:064}") for i, k in enumerate(targets)],
        before=random_predictions(texts, classes, sharp=3)[0],
        after=after,
        baselines={"ngram": random_predictions(texts, classes, 1, 0.5)[0]},
    )
    if "targets" in changes:
        held = replace(held, places=held.places[: len(changes["targets"])], **changes)
    return findings(replace(held, **changes), 7)


@pytest.mark.parametrize(("texts", "classes"), [(40, 2), (60, 7), (300, 100)])
def test_figures_by_class_agree_with_scikit_learn(texts: int, classes: int) -> None:
    probabilities, targets = random_predictions(texts, classes)
    own = report(texts, classes)["cross_validation"]
    predicted = probabilities.argmax(axis=1)
    expected = precision_recall_fscore_support(targets, predicted, labels=range(classes), zero_division=0)
    for key, values in zip(("precision", "recall", "f1", "n"), expected, strict=True):
        assert [one[key] or 0 for one in own["per_class"].values()] == pytest.approx(values, abs=1e-6), key
    assert own["macro_f1"] == pytest.approx(expected[2].mean(), abs=1e-6)
    assert own["accuracy"] == pytest.approx((predicted == targets).mean())
    assert own["accuracy_interval"] == pytest.approx(wilson(int((predicted == targets).sum()), texts), abs=1e-6)
    assert own["confusion"]["c00"]["c01"] == ((targets == 0) & (predicted == 1)).sum()


def test_bins_by_hand_and_their_gaps_add_up_to_the_calibration_error() -> None:
    probabilities = np.array([[0.61, 0.39], [0.38, 0.62], [0.9, 0.1], [1.0, 0.0]])
    bins = reliability(probabilities, np.array([0, 0, 0, 1]), bins=2)
    assert [(one["n"], one["accuracy"]) for one in bins] == [(2, 0.5), (2, 0.5)]
    assert [one["confidence"] for one in bins] == pytest.approx([0.615, 0.95])
    result, (after, targets) = report(200, 4)["calibration"], random_predictions(200, 4)
    gaps = sum(abs(one["confidence"] - one["accuracy"]) * one["n"] for one in result["bins_after"]) / 200
    assert gaps == pytest.approx(result["ece_after"], abs=1e-5)
    assert result["ece_after"] == pytest.approx(expected_calibration_error(after, targets), abs=1e-6)
    assert result["ece_before"] == pytest.approx(
        expected_calibration_error(random_predictions(200, 4, sharp=3)[0], targets), abs=1e-6
    )


def test_a_baseline_is_beaten_only_where_the_interval_excludes_zero() -> None:
    after, targets = random_predictions(300, 3, sharp=4)
    weak = random_predictions(300, 3, 5, 0.3)[0]
    result = report(300, 3, after=after, baselines={"weak": weak, "same": after})["baselines"]
    assert (result["weak"]["verdict"], result["same"]["verdict"]) == ("better", "undecided")
    assert result["weak"]["difference_interval"][0] > 0 == result["same"]["difference"]
    assert result["weak"]["accuracy"] == pytest.approx((weak.argmax(axis=1) == targets).mean(), abs=1e-6)
    assert report(300, 3, after=weak, baselines={"strong": after})["baselines"]["strong"]["verdict"] == "worse"
    # The same difference on few texts is not significant.
    few = [0, 1, 2, 3, 4, 5]
    again = report(6, 3, after=after[few], targets=targets[few], baselines={"weak": weak[few]})
    assert again["baselines"]["weak"]["verdict"] == "undecided"
    assert again["baselines"]["weak"]["difference"] > 0


@pytest.mark.parametrize(("texts", "classes"), [(1, 2), (5, 2), (5, 100), (230, 100)])
def test_figures_of_any_size_are_json_and_reproducible(texts: int, classes: int) -> None:
    curve = [CurvePoint(n, np.arange(3), np.array([0, 1, 1])) for n in (2, 3, 4)]
    result = report(texts, classes, curve=curve)
    assert json.loads(json.dumps(result, allow_nan=False)) == result == report(texts, classes, curve=curve)
    assert set(result) == {
        "cross_validation",
        "calibration",
        "baselines",
        "learning_curve",
        "suspected_faults",
        "false_alarm_share",
    }
    low, high = result["cross_validation"]["macro_f1_interval"]
    assert 0 <= low <= high <= 1


def test_undefined_figures_are_none() -> None:
    one_way = np.tile([0.8, 0.2, 0.0], (4, 1))
    result = report(4, 3, after=one_way, targets=np.array([0, 0, 0, 1]))
    figures = result["cross_validation"]["per_class"]
    assert figures["c01"] == {"precision": None, "recall": 0, "f1": 0, "n": 1}
    assert figures["c02"] == {"precision": None, "recall": None, "f1": None, "n": 0}


def test_shapes_that_do_not_match_are_refused() -> None:
    with pytest.raises(ValueError, match=r"have shape \(4, 3\), expected \(5, 2\)"):
        report(5, 2, baselines={"ngram": random_predictions(4, 3)[0]})
    with pytest.raises(ValueError, match="places has 4 entries for 5 texts"):
        report(5, 2, places=[LabelPlace("a", 1, "c00", "0")] * 4)
    with pytest.raises(ValueError, match="at least one text"):
        report(0, 2)
