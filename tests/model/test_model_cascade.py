"""Tests of a model with a cascade: the n-gram view settles the texts that it is sure of, and nothing else changes."""

from __future__ import annotations

from pathlib import Path

import kit
import numpy as np
import pytest

from tlnlp.errors import BundleError
from tlnlp.model.cascade import NGRAM, STAGES, Cascade
from tlnlp.model.classifier import Classifier
from tlnlp.model.profile import CTRANSLATE2_INT8, FAST, NONE, ONNX_FP32, SAFE, Profile

CASCADES = {SAFE: Cascade(2.0, (0.1, -0.1), 0.8, 0.005), FAST: Cascade(2.0, (0.1, -0.1), 0.7, 0.02)}
TEXTS = [*kit.texts(40, 5), "good good warm bread", "xyz"]


@pytest.fixture(scope="module")
def folder(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return kit.make_bundle(
        tiny_encoder, tmp_path_factory.mktemp("cascade") / "bundle", cascades=CASCADES, optimise=SAFE
    )


@pytest.mark.parametrize("engine", [ONNX_FP32, CTRANSLATE2_INT8])
@pytest.mark.parametrize("name", [SAFE, FAST])
def test_settled_texts_have_calibrated_probabilities_and_the_others_those_of_both_views(
    folder: Path, engine: str, name: str
) -> None:
    classifier = Classifier.load(folder, 1, Profile(engine, name))
    whole = Classifier.load(folder, 1, Profile(engine, NONE)).predict(TEXTS)
    probabilities, stages = classifier.predict_staged(TEXTS)
    settled = stages == STAGES.index(NGRAM)
    calibrated = CASCADES[name].calibrated(classifier.ngram.predict(TEXTS))
    assert 3 < settled.sum() < len(TEXTS) - 3
    assert (settled == (calibrated.max(axis=1) >= CASCADES[name].threshold)).all()
    assert (probabilities[settled] == calibrated[settled]).all()
    assert (probabilities[~settled] == whole[~settled]).all()
    assert (classifier.predict(TEXTS) == probabilities).all()
    assert (classifier.predict_without_cascade(TEXTS) == whole).all()
    # A text alone has the same bits.
    assert (np.vstack([classifier.predict([text]) for text in TEXTS]) == probabilities).all()
    none, nothing = classifier.predict_staged([])
    assert (none.shape, nothing.shape) == ((0, 2), (0,))


def test_the_bundle_names_its_profile(folder: Path) -> None:
    classifier = Classifier.load(folder, 1)
    assert str(classifier.spec.profile) == "onnx-fp32+safe"
    assert classifier.cascade == CASCADES[SAFE]
    assert classifier.spec.profile.scored_by("0123456789abcdef" * 4) == "onnx-fp32+safe@0123456789abcdef"


def test_a_cascade_that_the_bundle_lacks_is_refused(tiny_bundle: Path) -> None:
    with pytest.raises(BundleError, match=r"no files or no cascade for onnx-fp32\+safe"):
        Classifier.load(tiny_bundle, 1, Profile(ONNX_FP32, SAFE))
