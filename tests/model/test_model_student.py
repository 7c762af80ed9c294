"""A bundle with a student: what it settles, the files that it shares, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import kit
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tlnlp.errors import BundleError
from tlnlp.model import bundle
from tlnlp.model.bundle_spec import StudentSpec, read_spec
from tlnlp.model.cascade import ENCODER, NGRAM, STAGES, STUDENT, Calibration, Cascade
from tlnlp.model.classifier import Classifier
from tlnlp.model.evidence import explain
from tlnlp.model.profile import CTRANSLATE2_INT8, NONE, ONNX_FP32, SAFE, Profile

CASCADE = Cascade(2.0, (0.1, -0.1), 0.8, 0.005, Calibration((0.5, 2.0), (0.3, -0.3)))
TEXTS = [*kit.texts(60, 5), "good good warm bread", "xyz", "", " ".join(kit.texts(9, 8))]


@pytest.fixture(scope="module")
def folder(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return kit.make_bundle(
        tiny_encoder,
        tmp_path_factory.mktemp("student") / "bundle",
        cascades={SAFE: CASCADE},
        optimise=SAFE,
        engine=CTRANSLATE2_INT8,
        student=StudentSpec(1, 24),
    )


def test_each_stage_settles_what_it_is_sure_of(folder: Path) -> None:
    classifier = Classifier.load(folder, 1)
    assert classifier.student is not None
    assert CASCADE.student is not None
    probabilities, stages = classifier.predict_staged(TEXTS)
    ngram, whole = classifier.ngram.predict(TEXTS), classifier.predict_without_cascade(TEXTS)
    student = classifier.student.predict(classifier.encoder.encode(TEXTS))
    candidates = {NGRAM: CASCADE.calibrated(ngram), STUDENT: CASCADE.student.apply(student, ngram), ENCODER: whole}
    for place, text in enumerate(TEXTS):
        sure = [name for name in (NGRAM, STUDENT) if candidates[name][place].max() >= CASCADE.threshold]
        wanted = sure[0] if sure else ENCODER
        assert STAGES[stages[place]] == wanted
        assert (probabilities[place] == candidates[wanted][place]).all(), text
    assert set(stages) == {0, 1, 2}
    # A text alone has the same bits.
    assert (np.vstack([classifier.predict([text]) for text in TEXTS]) == probabilities).all()


def test_a_student_reads_the_head_and_the_tail_that_its_limit_leaves(folder: Path) -> None:
    classifier = Classifier.load(folder, 1)
    assert classifier.student is not None
    encoded = classifier.encoder.encode(TEXTS)
    shortened = classifier.student.encoder.shorten(encoded)
    assert shortened == classifier.student.encoder.encode(TEXTS)
    assert max(map(len, encoded)) > 24 == max(map(len, shortened))


def test_a_student_shares_the_embeddings_of_the_encoder(folder: Path) -> None:
    own = load_file(folder / bundle.STUDENT)
    assert not any("embeddings_0" in name for name in own)
    assert "encoder/layer_0/ffn/linear_0/weight" in own
    assert not any("layer_1" in name for name in own)
    assert bundle.STUDENT in bundle.scoring_files(folder, CTRANSLATE2_INT8)
    assert bundle.STUDENT not in bundle.scoring_files(folder, ONNX_FP32)


@pytest.mark.parametrize("profile", [Profile(ONNX_FP32, SAFE), Profile(CTRANSLATE2_INT8, NONE)], ids=str)
def test_a_profile_without_int8_or_cascade_asks_no_student(folder: Path, profile: Profile) -> None:
    classifier = Classifier.load(folder, 1, profile)
    assert classifier.student is None
    _, stages = classifier.predict_staged(TEXTS)
    assert STAGES.index(STUDENT) not in stages


def test_evidence_is_that_of_the_stage_which_has_settled_the_text(folder: Path) -> None:
    classifier = Classifier.load(folder, 1)
    assert classifier.student is not None
    assert CASCADE.student is not None
    texts = [". ".join([text, "good warm bread", "the ferry was late"]) + "." for text in TEXTS]
    probabilities, stages = classifier.predict_staged(texts)
    for place, text in enumerate(texts):
        found = explain(classifier, text)
        assert found.stage == STAGES[stages[place]]
        assert list(found.probabilities.values()) == probabilities[place].tolist()
        if found.stage == STUDENT:
            # A sentence that the student does not read changes nothing there.
            encoded = classifier.student.predict(classifier.encoder.encode([text]))[0]
            assert list(found.encoder.values()) == encoded.tolist()
            assert any(one.contribution for one in found.sentences)
    assert set(stages) == {0, 1, 2}


def _altered(folder: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "bundle"
    shutil.copytree(folder, copy)
    return copy


def _describe(folder: Path, **changes: object) -> None:
    spec = json.loads((folder / bundle.SPEC).read_text()) | changes
    (folder / bundle.SPEC).write_text(json.dumps(spec))
    bundle.seal(folder)


@pytest.mark.parametrize(
    ("student", "message"),
    [
        ({"layers": 2, "max_length": 24}, "the student has 2 layers and reads 24 tokens, and its encoder 2 and 64"),
        ({"layers": 1, "max_length": 65}, "the student has 1 layers and reads 65 tokens, and its encoder 2 and 64"),
        ({"layers": 0, "max_length": 24}, "student is .*; it must be null, or layers and max_length"),
        ({"layers": 1}, "student is .*; it must be null, or layers and max_length"),
        (None, "safe has a student, and the bundle has none"),
    ],
)
def test_a_description_that_fits_no_student_is_refused(
    folder: Path, tmp_path: Path, student: object, message: str
) -> None:
    copy = _altered(folder, tmp_path)
    _describe(copy, student=student)
    with pytest.raises(BundleError, match=message):
        Classifier.load(copy, 1)


def test_altered_tensors_are_refused(folder: Path, tmp_path: Path) -> None:
    copy = _altered(folder, tmp_path)
    tensors = load_file(copy / bundle.STUDENT)
    head = tensors["head/weight"]
    for name, altered, message in (
        ("head/weight", head[:1], "head/weight is float32"),
        ("head/weight", head * np.float32(np.nan), "head/weight holds nan"),
        ("head/weight", -head * 50, "this machine computes .*tolerance"),
        ("encoder/layer_0/ffn/linear_0/weight", None, "the tensor encoder/layer_0/ffn/linear_0/weight is missing"),
    ):
        changed = {key: value for key, value in tensors.items() if key != name}
        save_file(
            changed if altered is None else changed | {name: np.ascontiguousarray(altered)}, copy / bundle.STUDENT
        )
        bundle.seal(copy)
        with pytest.raises(BundleError, match=message):
            Classifier.load(copy, 1)


def test_a_bundle_whose_student_is_missing_is_refused(folder: Path, tmp_path: Path) -> None:
    copy = _altered(folder, tmp_path)
    (copy / bundle.STUDENT).unlink()
    bundle.seal(copy)
    assert read_spec(copy).student == StudentSpec(1, 24)
    with pytest.raises(BundleError, match="disagree on whether there is a student"):
        Classifier.load(copy, 1)
