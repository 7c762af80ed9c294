"""What the report of a version says, held against scikit-learn, slow references and examples worked by hand."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binomtest
from sklearn.metrics import f1_score, precision_recall_fscore_support

from tlnlp.evaluate import findings as room
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


def drawn(texts: int, classes: int, seed: int = 0, sharp: float = 1.5) -> tuple[Floats, NDArray[np.int64]]:
    """Probabilities that are mostly right, and targets that hold the classes in turn."""
    generator = np.random.default_rng(seed)
    targets = np.arange(texts) % classes
    scores = generator.normal(size=(texts, classes))
    scores[np.arange(texts), targets] += sharp
    return softmax(scores), targets


def report(texts: int, classes: int, **changes: Any) -> dict[str, Any]:
    after, targets = drawn(texts, classes)
    names = [f"c{k:02}" for k in range(classes)]
    given = {
        "probabilities_before": drawn(texts, classes, sharp=3)[0],
        "probabilities_after": after,
        "targets": targets,
        "classes": names,
        "examples_places": [("a.csv", i + 1, names[k]) for i, k in enumerate(targets)],
        "baselines": {"ngram": drawn(texts, classes, 1, 0.5)[0]},
        "curve": [],
        "seed": 7,
    }
    return findings(**given | changes)


def hits(share: float, texts: int = 10_000) -> NDArray[np.int64]:
    return (np.arange(texts) < round(share * texts)).astype(np.int64)


@pytest.mark.parametrize(("right", "n"), [(92, 100), (0, 5), (5, 5), (1, 3)])
def test_wilson_as_scipy_has_it(right: int, n: int) -> None:
    expected = binomtest(right, n).proportion_ci(0.95, method="wilson")
    assert wilson(right, n) == pytest.approx((expected.low, expected.high))
    assert wilson(0, 0) == (0, 1)


@pytest.mark.parametrize(("texts", "classes"), [(40, 2), (60, 7), (300, 100)])
def test_figures_by_class_are_those_of_scikit_learn(texts: int, classes: int) -> None:
    probabilities, targets = drawn(texts, classes)
    own = report(texts, classes)["cross_validation"]
    guessed = probabilities.argmax(axis=1)
    expected = precision_recall_fscore_support(targets, guessed, labels=range(classes), zero_division=0)
    for key, values in zip(("precision", "recall", "f1", "n"), expected, strict=True):
        assert [one[key] or 0 for one in own["per_class"].values()] == pytest.approx(values, abs=1e-6), key
    assert own["macro_f1"] == pytest.approx(expected[2].mean(), abs=1e-6)
    assert own["accuracy"] == pytest.approx((guessed == targets).mean())
    assert own["accuracy_interval"] == pytest.approx(wilson(int((guessed == targets).sum()), texts), abs=1e-6)
    assert own["confusion"]["c00"]["c01"] == ((targets == 0) & (guessed == 1)).sum()


def test_macro_f1_interval_is_that_of_the_slow_bootstrap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "RESAMPLES", 150)
    probabilities, targets = drawn(24, 5)
    guessed = probabilities.argmax(axis=1)
    found = macro_f1_interval(guessed, targets, 5, seed=3)
    counts = np.random.default_rng((3, 2)).multinomial(24, np.full(24, 1 / 24), size=150)
    # Without `labels`, scikit-learn takes the mean over the classes that a resample holds.
    slow = [f1_score(np.repeat(targets, n), np.repeat(guessed, n), average="macro") for n in counts]
    assert found == pytest.approx(tuple(np.quantile(slow, [0.025, 0.975])))
    assert found[0] < f1_score(targets, guessed, average="macro") < found[1]
    # A sixth class that no text has or is given counts as nothing, as it does in the figure itself.
    assert macro_f1_interval(guessed, targets, 6, seed=3)[1] < found[1]


def test_without_a_mistake_the_interval_still_says_how_few_texts_there_were() -> None:
    right = np.array([0, 1, 0, 1, 1])
    assert macro_f1_interval(right, right, 2, seed=0) == wilson(5, 5)
    assert macro_f1_interval(1 - right, right, 2, seed=0) == wilson(0, 5)


def test_bins_by_hand_and_their_gaps_are_the_error() -> None:
    probabilities = np.array([[0.61, 0.39], [0.38, 0.62], [0.9, 0.1], [1.0, 0.0]])
    bins = reliability(probabilities, np.array([0, 0, 0, 1]), bins=2)
    assert [(one["n"], one["accuracy"]) for one in bins] == [(2, 0.5), (2, 0.5)]
    assert [one["confidence"] for one in bins] == pytest.approx([0.615, 0.95])
    found, (after, targets) = report(200, 4)["calibration"], drawn(200, 4)
    gaps = sum(abs(one["confidence"] - one["accuracy"]) * one["n"] for one in found["bins_after"]) / 200
    assert gaps == pytest.approx(found["ece_after"], abs=1e-5)
    assert found["ece_after"] == pytest.approx(expected_calibration_error(after, targets), abs=1e-6)
    assert found["ece_before"] == pytest.approx(
        expected_calibration_error(drawn(200, 4, sharp=3)[0], targets), abs=1e-6
    )


def test_paired_interval_by_hand() -> None:
    one, other = np.arange(50) < 45, np.arange(50) % 5 > 0
    # 9 texts only the first gets right, 4 only the second: (13 + 2 - 25 / 50) ** 0.5 / 50 * 1.959964 = 0.149267.
    assert paired_interval(one, other) == pytest.approx((0.1, -0.049267, 0.249267), abs=1e-5)
    assert paired_interval(one, one)[1:] == pytest.approx((-0.055436, 0.055436), abs=1e-5)


def test_a_baseline_is_as_good_until_the_interval_lies_above_nothing() -> None:
    after, targets = drawn(300, 3, sharp=4)
    weak = drawn(300, 3, 5, 0.3)[0]
    found = report(300, 3, probabilities_after=after, baselines={"weak": weak, "same": after})["baselines"]
    assert (found["weak"]["as_good"], found["same"]["as_good"]) == (False, True)
    assert found["weak"]["difference_interval"][0] > 0 == found["same"]["difference"]
    assert found["weak"]["accuracy"] == pytest.approx((weak.argmax(axis=1) == targets).mean(), abs=1e-6)
    # The same difference on few texts is none that could be told.
    few = [0, 1, 2, 3, 4, 5]
    again = report(6, 3, probabilities_after=after[few], targets=targets[few], baselines={"weak": weak[few]})
    assert again["baselines"]["weak"]["as_good"] is True


def test_the_curve_finds_a_law_that_is_there() -> None:
    counts = (25, 50, 100, 200)
    curve = [(n, hits(1 - (0.05 + 1.5 / n**0.5))) for n in counts]
    found = learning_curve(curve, 200, seed=1)
    assert [point["labels"] for point in found["points"]] == list(counts)
    first = found["points"][0]
    assert first["accuracy"] == pytest.approx(0.65)
    assert (first["low"], first["high"]) == wilson(6500, 10_000)
    expected = 1.5 * (200**-0.5 - 300**-0.5)
    assert found["more"]["gain"] == pytest.approx(expected, abs=1e-3)
    assert 0 <= found["more"]["low"] <= found["more"]["gain"] <= found["more"]["high"] < 0.1
    # More labels are worth less to those who have more.
    assert learning_curve(curve, 400, seed=1)["more"]["gain"] < found["more"]["gain"]


@pytest.mark.parametrize(
    ("accuracies", "highest"), [((0.9, 0.8, 0.7), 1e-9), ((1.0, 1.0, 1.0), 1e-9), ((0.2, 0.7, 0.99), 0.2)]
)
def test_a_gain_is_never_below_nothing_nor_above_what_is_left(accuracies: tuple[float, ...], highest: float) -> None:
    curve = [(n, hits(share, 500)) for n, share in zip((20, 40, 80), accuracies, strict=True)]
    gain = learning_curve(curve, 80, seed=1)["more"]["gain"]
    assert 0 <= gain <= highest


def test_few_points_promise_nothing_and_equal_counts_are_one_point() -> None:
    assert learning_curve([], 10, seed=0) == {"points": [], "more": None}
    curve = [(80, hits(1.0, 5)), (40, hits(0.5, 10)), (80, hits(0.0, 15)), (120, hits(0.5, 0))]
    found = learning_curve(curve, 100, seed=0)
    assert found["more"] is None
    assert [(point["labels"], point["accuracy"]) for point in found["points"]] == [(40, 0.5), (80, 0.25)]


def test_suspected_faults_by_hand() -> None:
    probabilities = np.array(
        [[0.9, 0.1, 0.0], [0.7, 0.3, 0.0], [0.2, 0.8, 0.0], [0.75, 0.25, 0.0], [0.95, 0.05, 0.0], [0.1, 0.1, 0.8]]
    )
    targets = np.array([0, 0, 1, 1, 1, 0])
    places = [("x.csv", row, "abc"[k]) for row, k in enumerate(targets, 1)]
    found = suspected_faults(probabilities, targets, "abc", places)
    # Texts labelled a hold a mean of 0.5667 for a: rows 4 and 5 are above it. No text is labelled c, so row 6 is not.
    assert [(one["row"], one["label"], one["predicted"], one["probability"]) for one in found] == [
        (5, "b", "a", 0.95),
        (4, "b", "a", 0.75),
    ]
    # With surer texts of class a, row 4 falls below their mean.
    surer = suspected_faults(probabilities[:5], targets[:5], "abc", places[:5])
    assert [one["row"] for one in surer] == [5]


def test_at_most_fifty_are_suspected_the_surest_first() -> None:
    probabilities, targets = drawn(400, 2, sharp=0)
    found = suspected_faults(probabilities, targets, "ab", [("x", i, "a") for i in range(400)])
    sure = [one["probability"] for one in found]
    assert len(found) == 50
    assert sure == sorted(sure, reverse=True)
    wrong = probabilities.argmax(axis=1) != targets
    assert sure[0] == probabilities.max(axis=1)[wrong].max()


@pytest.mark.parametrize(("texts", "classes"), [(1, 2), (5, 2), (5, 100), (230, 100)])
def test_any_size_makes_json_that_comes_out_the_same_again(texts: int, classes: int) -> None:
    curve = [(n, hits(0.5, 3)) for n in (2, 3, 4)]
    found = report(texts, classes, curve=curve)
    assert json.loads(json.dumps(found, allow_nan=False)) == found == report(texts, classes, curve=curve)
    assert set(found) == {"cross_validation", "calibration", "baselines", "learning_curve", "suspected_faults"}
    low, high = found["cross_validation"]["macro_f1_interval"]
    assert 0 <= low <= high <= 1


def test_what_does_not_exist_is_none() -> None:
    one_way = np.tile([0.8, 0.2, 0.0], (4, 1))
    found = report(4, 3, probabilities_after=one_way, targets=np.array([0, 0, 0, 1]))
    figures = found["cross_validation"]["per_class"]
    assert figures["c01"] == {"precision": None, "recall": 0, "f1": 0, "n": 1}
    assert figures["c02"] == {"precision": None, "recall": None, "f1": None, "n": 0}


def test_what_does_not_agree_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(4, 3\), expected \(5, 2\)"):
        report(5, 2, baselines={"ngram": drawn(4, 3)[0]})
    with pytest.raises(ValueError, match="4 places of 5 texts"):
        report(5, 2, examples_places=[("a", 1, "c00")] * 4)
    with pytest.raises(ValueError, match="at least one text"):
        report(0, 2)
