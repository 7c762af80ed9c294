"""The figures of a report, checked against scikit-learn, slow references and examples worked by hand."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binomtest
from sklearn.metrics import f1_score, precision_recall_fscore_support

from tlnlp.evaluate import findings as findings_module
from tlnlp.evaluate.findings import (
    findings,
    learning_curve,
    macro_f1_interval,
    paired_interval,
    reliability,
    suspected_faults,
    wilson,
)
from tlnlp.evaluate.metrics import expected_calibration_error
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
    names = [f"c{k:02}" for k in range(classes)]
    given: dict[str, Any] = {
        "probabilities_before": random_predictions(texts, classes, sharp=3)[0],
        "probabilities_after": after,
        "targets": targets,
        "classes": names,
        "examples_places": [("a.csv", i + 1, names[k]) for i, k in enumerate(targets)],
        "baselines": {"ngram": random_predictions(texts, classes, 1, 0.5)[0]},
        "curve": [],
        "seed": 7,
    }
    return findings(**given | changes)


def hits(share: float, texts: int = 10_000) -> NDArray[np.int64]:
    return (np.arange(texts) < round(share * texts)).astype(np.int64)


@pytest.mark.parametrize(("right", "n"), [(92, 100), (0, 5), (5, 5), (1, 3)])
def test_wilson_agrees_with_scipy(right: int, n: int) -> None:
    expected = binomtest(right, n).proportion_ci(0.95, method="wilson")
    assert wilson(right, n) == pytest.approx((expected.low, expected.high))
    assert wilson(0, 0) == (0, 1)


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


def test_macro_f1_interval_agrees_with_a_slow_bootstrap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(findings_module, "RESAMPLES", 150)
    probabilities, targets = random_predictions(24, 5)
    predicted = probabilities.argmax(axis=1)
    result = macro_f1_interval(predicted, targets, 5, seed=3)
    counts = np.random.default_rng((3, 2)).multinomial(24, np.full(24, 1 / 24), size=150)
    # Without `labels`, scikit-learn averages over the classes that a resample holds.
    slow = [f1_score(np.repeat(targets, n), np.repeat(predicted, n), average="macro") for n in counts]
    assert result == pytest.approx(tuple(np.quantile(slow, [0.025, 0.975])))
    assert result[0] < f1_score(targets, predicted, average="macro") < result[1]
    # A sixth class, neither present nor predicted, counts as 0 in the interval, as it does in macro-F1.
    assert macro_f1_interval(predicted, targets, 6, seed=3)[1] < result[1]


def test_without_mistakes_the_interval_still_depends_on_the_number_of_texts() -> None:
    right = np.array([0, 1, 0, 1, 1])
    assert macro_f1_interval(right, right, 2, seed=0) == wilson(5, 5)
    assert macro_f1_interval(1 - right, right, 2, seed=0) == wilson(0, 5)


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


def test_paired_interval_by_hand() -> None:
    one, other = np.arange(50) < 45, np.arange(50) % 5 > 0
    # Only the first is correct on 9 texts, only the second on 4: (13 + 2 - 25 / 50) ** 0.5 / 50 * 1.959964 = 0.149267.
    assert paired_interval(one, other) == pytest.approx((0.1, -0.049267, 0.249267), abs=1e-5)
    assert paired_interval(one, one)[1:] == pytest.approx((-0.055436, 0.055436), abs=1e-5)


def test_a_baseline_is_as_good_until_the_interval_lies_above_zero() -> None:
    after, targets = random_predictions(300, 3, sharp=4)
    weak = random_predictions(300, 3, 5, 0.3)[0]
    result = report(300, 3, probabilities_after=after, baselines={"weak": weak, "same": after})["baselines"]
    assert (result["weak"]["as_good"], result["same"]["as_good"]) == (False, True)
    assert result["weak"]["difference_interval"][0] > 0 == result["same"]["difference"]
    assert result["weak"]["accuracy"] == pytest.approx((weak.argmax(axis=1) == targets).mean(), abs=1e-6)
    # The same difference on few texts is not significant.
    few = [0, 1, 2, 3, 4, 5]
    again = report(6, 3, probabilities_after=after[few], targets=targets[few], baselines={"weak": weak[few]})
    assert again["baselines"]["weak"]["as_good"] is True


def test_the_curve_recovers_a_known_law() -> None:
    counts = (25, 50, 100, 200)
    curve = [(n, hits(1 - (0.05 + 1.5 / n**0.5))) for n in counts]
    result = learning_curve(curve, 200, seed=1)
    assert [point["labels"] for point in result["points"]] == list(counts)
    first = result["points"][0]
    assert first["accuracy"] == pytest.approx(0.65)
    assert (first["low"], first["high"]) == wilson(6500, 10_000)
    expected = 1.5 * (200**-0.5 - 300**-0.5)
    assert result["more"]["gain"] == pytest.approx(expected, abs=1e-3)
    assert 0 <= result["more"]["low"] <= result["more"]["gain"] <= result["more"]["high"] < 0.1
    # The gain of more labels falls with the number of labels.
    assert learning_curve(curve, 400, seed=1)["more"]["gain"] < result["more"]["gain"]


@pytest.mark.parametrize(
    ("accuracies", "highest"), [((0.9, 0.8, 0.7), 1e-9), ((1.0, 1.0, 1.0), 1e-9), ((0.2, 0.7, 0.99), 0.2)]
)
def test_a_gain_is_never_negative_nor_above_the_remaining_error(accuracies: tuple[float, ...], highest: float) -> None:
    curve = [(n, hits(share, 500)) for n, share in zip((20, 40, 80), accuracies, strict=True)]
    gain = learning_curve(curve, 80, seed=1)["more"]["gain"]
    assert 0 <= gain <= highest


def test_few_points_give_no_gain_and_equal_counts_are_merged() -> None:
    assert learning_curve([], 10, seed=0) == {"points": [], "more": None}
    curve = [(80, hits(1.0, 5)), (40, hits(0.5, 10)), (80, hits(0.0, 15)), (120, hits(0.5, 0))]
    result = learning_curve(curve, 100, seed=0)
    assert result["more"] is None
    assert [(point["labels"], point["accuracy"]) for point in result["points"]] == [(40, 0.5), (80, 0.25)]


def test_suspected_faults_by_hand() -> None:
    probabilities = np.array(
        [[0.9, 0.1, 0.0], [0.7, 0.3, 0.0], [0.2, 0.8, 0.0], [0.75, 0.25, 0.0], [0.95, 0.05, 0.0], [0.1, 0.1, 0.8]]
    )
    targets = np.array([0, 0, 1, 1, 1, 0])
    places = [("x.csv", row, "abc"[k]) for row, k in enumerate(targets, 1)]
    result = suspected_faults(probabilities, targets, "abc", places)
    # Texts labelled a have a mean probability of 0.5667 for a: rows 4 and 5 exceed it. No text is labelled c, so row 6
    # is not suspected.
    assert [(one["row"], one["label"], one["predicted"], one["probability"]) for one in result] == [
        (5, "b", "a", 0.95),
        (4, "b", "a", 0.75),
    ]
    # With more confident texts of class a, row 4 falls below their mean.
    confident = suspected_faults(probabilities[:5], targets[:5], "abc", places[:5])
    assert [one["row"] for one in confident] == [5]


def test_at_most_fifty_labels_are_suspected_the_most_confident_first() -> None:
    probabilities, targets = random_predictions(400, 2, sharp=0)
    result = suspected_faults(probabilities, targets, "ab", [("x", i, "a") for i in range(400)])
    listed = [one["probability"] for one in result]
    assert len(result) == 50
    assert listed == sorted(listed, reverse=True)
    wrong = probabilities.argmax(axis=1) != targets
    assert listed[0] == probabilities.max(axis=1)[wrong].max()


@pytest.mark.parametrize(("texts", "classes"), [(1, 2), (5, 2), (5, 100), (230, 100)])
def test_figures_of_any_size_are_json_and_reproducible(texts: int, classes: int) -> None:
    curve = [(n, hits(0.5, 3)) for n in (2, 3, 4)]
    result = report(texts, classes, curve=curve)
    assert json.loads(json.dumps(result, allow_nan=False)) == result == report(texts, classes, curve=curve)
    assert set(result) == {"cross_validation", "calibration", "baselines", "learning_curve", "suspected_faults"}
    low, high = result["cross_validation"]["macro_f1_interval"]
    assert 0 <= low <= high <= 1


def test_undefined_figures_are_none() -> None:
    one_way = np.tile([0.8, 0.2, 0.0], (4, 1))
    result = report(4, 3, probabilities_after=one_way, targets=np.array([0, 0, 0, 1]))
    figures = result["cross_validation"]["per_class"]
    assert figures["c01"] == {"precision": None, "recall": 0, "f1": 0, "n": 1}
    assert figures["c02"] == {"precision": None, "recall": None, "f1": None, "n": 0}


def test_shapes_that_do_not_match_are_refused() -> None:
    with pytest.raises(ValueError, match=r"have shape \(4, 3\), expected \(5, 2\)"):
        report(5, 2, baselines={"ngram": random_predictions(4, 3)[0]})
    with pytest.raises(ValueError, match="examples_places has 4 entries for 5 texts"):
        report(5, 2, examples_places=[("a", 1, "c00")] * 4)
    with pytest.raises(ValueError, match="at least one text"):
        report(0, 2)
