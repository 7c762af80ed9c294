"""Tests that the score of a text depends only on the text and the model."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import kit
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from tlnlp.model import bundle
from tlnlp.model.bundle_spec import read_spec
from tlnlp.model.classifier import Classifier
from tlnlp.model.combine import Floats, combine

# The stated tolerance between machines is 1e-3; on one machine only the last bits of a float32 differ.
TOLERANCE = 1e-6


@pytest.fixture(scope="module")
def classifier(tiny_bundle: Path) -> Classifier:
    return Classifier.load(tiny_bundle, threads=1)


@pytest.fixture(scope="module")
def texts() -> list[str]:
    # Short texts, and texts over the limits of 400 characters and 64 tokens.
    mixed = kit.texts(60, 5)
    return [*mixed, "", "?", "bread", " ".join(mixed[:30]), "unknowable" * 90, "Bread<br />  and\n\nboots"]


@pytest.fixture(scope="module")
def together(classifier: Classifier, texts: list[str]) -> Floats:
    return classifier.predict(texts)


def test_shape_and_range(classifier: Classifier, together: Floats, texts: list[str]) -> None:
    assert together.shape == (len(texts), 2)
    assert together.dtype == np.float64
    assert together.sum(axis=1) == pytest.approx(1.0)
    assert classifier.predict([]).shape == (0, 2)
    # A model with the same output for all texts would pass every test below.
    assert np.ptp(together[:, 0]) > 0.1


def test_alone(classifier: Classifier, together: Floats, texts: list[str]) -> None:
    alone = np.concatenate([classifier.predict([text]) for text in texts])
    assert np.array_equal(alone, together)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chosen=st.lists(st.integers(0, 65), min_size=1, max_size=40))
def test_any_texts_in_any_order_give_the_same_bits(
    classifier: Classifier, together: Floats, texts: list[str], chosen: list[int]
) -> None:
    assert np.array_equal(classifier.predict([texts[place] for place in chosen]), together[chosen])


def test_with_other_threads(tiny_bundle: Path, together: Floats, texts: list[str]) -> None:
    assert (Classifier.load(tiny_bundle, threads=2).predict(texts) == together).all()


def test_repeated_texts_get_one_score(classifier: Classifier, texts: list[str]) -> None:
    out = classifier.predict([texts[0]] * 40 + texts)
    assert np.ptp(out[:41], axis=0).max() == 0


def test_both_views_are_combined(classifier: Classifier, together: Floats, texts: list[str]) -> None:
    from tlnlp.data.text import prepare

    prepared = [prepare(text, classifier.spec.max_chars) for text in texts]
    encoder = classifier.engine.predict(classifier.encoder.encode(prepared))
    ngram = classifier.ngram.predict(prepared)
    assert np.abs(combine(encoder, ngram, 1.0, 0.5) - together).max() < TOLERANCE
    assert np.abs(encoder - together).max() > 0.01


_WORKER = """
import sys
from pathlib import Path
from tlnlp.model import bundle
from tlnlp.model.classifier import Classifier
print(Classifier.load(Path(sys.argv[1]), threads=1, scoring_only=False).predict(["warm bread"]).shape)
heavy = {"torch", "ray", "transformers", "pyspark", "onnx"} & set(sys.modules)
assert not heavy, heavy
"""


def test_a_scoring_worker_loads_no_training_library(tiny_bundle: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", _WORKER, str(tiny_bundle)], capture_output=True, text=True, check=False, timeout=120
    )
    assert (run.returncode, run.stdout.strip()) == (0, "(1, 2)"), run.stderr


def test_processes_of_a_host_share_the_weights(classifier: Classifier, tiny_bundle: Path) -> None:
    classifier.predict(["bread"])
    mapped = Path("/proc/self/maps").read_text()
    for name in (bundle.GRAPH_WEIGHTS, bundle.NGRAM):
        assert str(tiny_bundle / name) in mapped


@pytest.fixture(scope="module")
def prompted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a bundle of an encoder with conventions of its own, whose tokenizer does not lower-case."""
    folder = kit.make_encoder(tmp_path_factory.mktemp("prompted") / "encoder", lowercase=False, deviation=0.3)
    kit.write_conventions(folder, "cls", normalise=True, prompt="the Night ", lower_case=True)
    return kit.make_bundle(folder, folder.parent / "bundle")


def without_ngrams(folder: Path, **changes: Any) -> Classifier:
    """Load a bundle with a changed description and only the encoder view."""
    spec = replace(read_spec(folder), encoder_weight=1.0, ngram_weight=0.0, **changes)
    (folder / bundle.SPEC).write_bytes(spec.to_json())
    (folder / bundle.GOLDEN).unlink(missing_ok=True)  # They hold the probabilities of the unchanged bundle.
    bundle.seal(folder)
    return Classifier.load(folder, threads=1)


def test_a_bundle_reads_texts_by_its_encoders_conventions(prompted: Path, tmp_path: Path) -> None:
    from tlnlp.model.onnx_export import reference_probabilities
    from tlnlp.model.torch_encoder import load_weights

    folder = Path(shutil.copytree(prompted, tmp_path / "bundle"))
    spec = read_spec(folder)
    assert (spec.pooling, spec.prompt, spec.normalise, spec.lower_case) == ("cls", "the Night ", True, True)
    texts = ["Warm BREAD", "warm bread", "never Cold, always FINE", "a ferry"]
    found = without_ngrams(folder).predict(texts)
    tokenizer = Tokenizer.from_file(str(folder / bundle.TOKENIZER))
    encoded = [tokenizer.encode("the Night " + text.lower()).ids for text in texts]
    expected = reference_probabilities(load_weights(folder, "cls", normalise=True), encoded, spec.pad_token_id)
    assert np.abs(found - expected).max() < 1e-5
    assert (found[0] == found[1]).all()
    for changes in ({"prompt": ""}, {"prompt": "good "}, {"lower_case": False}):
        other = without_ngrams(folder, **changes).predict(texts)
        assert np.abs(other - found).max() > 0.01, changes
    plain = load_weights(folder, "cls")
    assert np.abs(reference_probabilities(plain, encoded, spec.pad_token_id) - expected).max() > 0.01


def test_a_bundle_from_before_there_were_conventions(tiny_bundle: Path, tmp_path: Path, texts: list[str]) -> None:
    folder = Path(shutil.copytree(tiny_bundle, tmp_path / "old"))
    values = json.loads((folder / bundle.SPEC).read_text())
    for key in ("prompt", "normalise", "lower_case"):
        del values[key]
    (folder / bundle.SPEC).write_text(json.dumps(values))
    bundle.seal(folder)
    old = Classifier.load(folder, threads=1)
    assert old.spec == read_spec(tiny_bundle)
    assert (old.predict(texts) == Classifier.load(tiny_bundle, threads=1).predict(texts)).all()
