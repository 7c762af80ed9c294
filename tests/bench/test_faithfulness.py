"""The benchmark of faithfulness on tiny models: what is removed, what counts as right, and the table."""

from __future__ import annotations

from pathlib import Path

import faithfulness
import kit
import numpy as np
import pytest

from tlnlp.model.classifier import Classifier
from tlnlp.model.evidence import explain

TEXT = "Good bread. The ferry was very cold! Never bad. A night. Warm bread, always. It was fine. Poor boots."


@pytest.fixture(scope="module")
def bundles(tiny_bundle: Path, tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    other = tmp_path_factory.mktemp("other") / "bundle"
    return [tiny_bundle, kit.make_bundle(tiny_encoder, other, classes=("positive", "negative"), seed=3)]


def test_what_is_removed(tiny_bundle: Path) -> None:
    evidence = explain(Classifier.load(tiny_bundle), TEXT)
    made = faithfulness.trials(evidence, np.random.default_rng(0))
    assert list(made) == [f"{ranking}, {count}" for ranking in ("both", "ngram", "encoder") for count in (1, 3)]
    (top,) = made["both, 1"].top
    assert evidence.sentences[top] == evidence.ranked[0]
    for name, trial in made.items():
        assert not trial.top & (trial.random | trial.near)
        assert len(trial.top) == len(trial.random) == int(name[-1])
    assert (
        faithfulness.without(TEXT, evidence, frozenset({0, 2})).split()
        == TEXT.replace("Good bread. ", "").replace("Never bad. ", "").split()
    )
    few = explain(Classifier.load(tiny_bundle), "Good bread. Cold ferry. A night.")
    assert list(faithfulness.trials(few, np.random.default_rng(0))) == ["both, 1", "ngram, 1", "encoder, 1"]


def test_what_counts_as_right() -> None:
    trial = faithfulness.Trial(frozenset({0}), frozenset({1}), frozenset({2}))
    found = faithfulness.outcome(0.8, trial, {trial.top: 0.7, trial.random: 0.95, trial.near: 0.6})
    assert (found["lower"], found["moves"], found["lower_than_near"]) == (True, False, False)
    assert (found["fall"], found["fall_random"]) == pytest.approx((0.1, -0.15))


def test_the_same_model_agrees_and_others_are_asked(bundles: list[Path]) -> None:
    model = Classifier.load(bundles[0])
    texts = [f"{TEXT} {text}." for text in kit.texts(6)]
    (found,) = faithfulness.measure(model, faithfulness.judges(*bundles), texts)
    assert found["reviews"] == 6
    assert found["pairs"].keys() == {
        f"{ranking}, {count}, {judge}"
        for ranking in ("both", "ngram", "encoder")
        for count in (1, 3)
        for judge in ("both", "ngram", "encoder", "other")
    }
    # These texts are read whole, so the first sentence moves the probability most by definition.
    for name in ("both", "ngram", "encoder"):
        assert found["pairs"][f"{name}, 1, {name}"]["lower"] == 1.0
        assert found["pairs"][f"{name}, 1, {name}"]["n"] == 6
    facts = {"engine": "onnx-fp32", "encoder": "tiny", "other": "small", "machine": {"cpu": "a cpu", "cores": 2}}
    shown = faithfulness.table(found | facts)
    assert "| both views | the same (a check alone) | 100.0% (61% to 100%; n = 6) |" in shown
    assert shown.count("\n| ") == len(faithfulness.PAIRS)
