"""Tests of the engine for GPUs. Those that need a CUDA device are skipped where there is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ctranslate2
import kit
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlnlp.errors import EngineError
from tlnlp.model import bundle
from tlnlp.model.bundle_checks import check_contents
from tlnlp.model.bundle_spec import StudentSpec
from tlnlp.model.classifier import Classifier
from tlnlp.model.engines.ctranslate2_cuda import CUBLAS, TOKENS_AT_ONCE, _engine_error, filled
from tlnlp.model.engines.memory_errors import memory_errors
from tlnlp.model.golden_texts import INT8_TOLERANCE
from tlnlp.model.profile import CTRANSLATE2_CUDA_INT8, CTRANSLATE2_INT8, ENGINE_NAMES, ONNX_FP32, Profile

DEVICES = ctranslate2.get_cuda_device_count()
needs_gpu = pytest.mark.skipif(DEVICES == 0, reason="this machine has no CUDA device that CTranslate2 can use")


def test_no_version_is_made_for_it_and_rows_name_it() -> None:
    assert CTRANSLATE2_CUDA_INT8 not in ENGINE_NAMES
    assert Profile(CTRANSLATE2_CUDA_INT8).scored_by("ab" * 32) == "ctranslate2-cuda-int8@abababababababab"


def test_it_reads_the_files_of_the_int8_engine_without_a_student(tiny_encoder: Path, tmp_path: Path) -> None:
    whole = kit.make_bundle(tiny_encoder, tmp_path / "whole", student=StudentSpec(1, 24))
    files = bundle.scoring_files(whole, CTRANSLATE2_CUDA_INT8)
    assert bundle.scoring_files(whole, CTRANSLATE2_INT8).keys() - files.keys() == {bundle.STUDENT}
    slim = tmp_path / "slim"
    slim.mkdir()
    for name, data in files.items():
        (slim / name).write_bytes(data)
    assert bundle.verify(slim, only=CTRANSLATE2_CUDA_INT8) == bundle.verify(whole)
    assert check_contents(slim, CTRANSLATE2_CUDA_INT8).embedding_rows == check_contents(whole).embedding_rows


@settings(deadline=None)
@given(length=st.integers(1, 3 * TOKENS_AT_ONCE), share=st.floats(0, 1))
def test_the_shape_of_a_group_depends_on_the_length_of_its_texts_alone(length: int, share: float) -> None:
    most = max(1, TOKENS_AT_ONCE // length)
    texts = np.arange(max(1, round(share * most)) * length, dtype=np.int32).reshape(-1, length)
    group = filled(texts)
    assert group.shape == (most, length)
    assert (group[: len(texts)] == texts).all()
    assert (group[len(texts) :] == texts[-1]).all()


@pytest.mark.parametrize(
    "message",
    [
        "CUDA failed with error out of memory",
        "cuBLAS failed with status CUBLAS_STATUS_ALLOC_FAILED",
        "std::bad_alloc",
        "Failed to allocate memory for requested buffer of size 42",
    ],
)
def test_too_little_memory_is_a_memory_error(message: str) -> None:
    with pytest.raises(MemoryError, match="GPU 1 has too little memory for a text"), memory_errors("GPU 1"):
        raise RuntimeError(message)


def test_other_errors_pass_as_they_are() -> None:
    error = RuntimeError("CUDA failed with error an illegal memory access was encountered")
    with pytest.raises(RuntimeError) as raised, memory_errors("GPU 1"):
        raise error
    assert raised.value is error


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("CUDA failed with error CUDA driver version is insufficient for CUDA runtime version", "no NVIDIA driver"),
        ("CUDA failed with error no CUDA-capable device is detected", "CUDA finds no such GPU"),
        ("CUDA failed with error invalid device ordinal", "CUDA finds no such GPU"),
        (f"Library {CUBLAS} is not found or cannot be loaded", r"install tlnlp\[gpu\]"),
        ("Requested int8_float32 compute type, but the target device or backend do not support efficient", "too old"),
        ("This CTranslate2 package was not compiled with CUDA support", "has no CUDA"),
        ("CUDA failed with error unspecified launch failure", "CUDA failed with error unspecified launch failure;"),
        ("cannot read 'a canary'", "CTranslate2 failed; check it with nvidia-smi"),
    ],
)
def test_an_error_says_which_gpu_what_is_wrong_and_what_to_do(message: str, said: str) -> None:
    error = _engine_error(3, message)
    assert error.exit_code == EngineError.exit_code
    with pytest.raises(EngineError, match=rf"^GPU 3 of .+: .*{said}"):
        raise error
    assert "canary" not in str(error)


@pytest.mark.skipif(DEVICES > 0, reason="this machine has a CUDA device")
def test_without_a_device_the_bundle_is_not_blamed(tiny_bundle: Path) -> None:
    with pytest.raises(EngineError, match=r"GPU 0 of .+ there is no NVIDIA driver, or one that is too old"):
        Classifier.load(tiny_bundle, profile=Profile(CTRANSLATE2_CUDA_INT8))


class TestOnADevice:
    """What can be tried only with a CUDA device."""

    pytestmark = needs_gpu
    classifiers: dict[str, Classifier] = {}  # noqa: RUF012 - a cache of this class

    @pytest.fixture(scope="class")
    def own_bundle(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """A bundle whose encoder's states depend much on its weights."""
        folder = tmp_path_factory.mktemp("cuda")
        return kit.make_bundle(kit.make_encoder(folder / "encoder", deviation=0.3), folder / "bundle")

    def load(self, folder: Path, engine: str) -> Classifier:
        """Return the classifier of an engine, loaded once."""
        if engine not in self.classifiers:
            self.classifiers[engine] = Classifier.load(folder, 1, Profile(engine))
        return self.classifiers[engine]

    def test_labels_and_probabilities_are_those_of_the_reference(self, own_bundle: Path) -> None:
        texts = kit.texts(300, seed=3)
        reference, _ = self.load(own_bundle, ONNX_FP32).views(texts)
        processor, _ = self.load(own_bundle, CTRANSLATE2_INT8).views(texts)
        gpu, _ = self.load(own_bundle, CTRANSLATE2_CUDA_INT8).views(texts)
        print(f"largest difference: {np.abs(gpu - reference).max():.2g} from fp32, {np.abs(gpu - processor).max():.2g}")
        assert np.abs(gpu - reference).max() < INT8_TOLERANCE
        assert (gpu.argmax(axis=1) == reference.argmax(axis=1)).mean() >= 0.98

    @settings(max_examples=40, deadline=None)
    @given(numbers=st.lists(st.integers(0, 199), min_size=1, max_size=80))
    def test_a_text_has_the_same_bits_in_any_company(self, own_bundle: Path, numbers: list[int]) -> None:
        texts, classifier = kit.texts(200, seed=4), self.load(own_bundle, CTRANSLATE2_CUDA_INT8)
        if "alone" not in _bits:
            _bits["alone"] = np.vstack([classifier.predict([text]) for text in texts])
        assert (classifier.predict([texts[number] for number in numbers]) == _bits["alone"][numbers]).all()


_bits: dict[str, Any] = {}
