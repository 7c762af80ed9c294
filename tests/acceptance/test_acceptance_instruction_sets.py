"""The golden texts of a bundle hold on a processor with fewer instructions than the one that made it (Linux, x86-64).

In a copy of ONNX Runtime, the instruction ``xgetbv`` is replaced by one that returns no features. So the copy takes the
system for one that saves no AVX registers, and computes with SSE2 alone. The figures are printed.
"""

from __future__ import annotations

import json
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from tlnlp.model.classifier import Classifier
from tlnlp.model.golden_texts import INT8_TOLERANCE, TEXTS, TOLERANCE
from tlnlp.model.profile import CTRANSLATE2_INT8, Profile

pytestmark = pytest.mark.acceptance
ROOT = Path(__file__).parents[2]
XGETBV = re.compile(rb"\x0f\x01\xd0")
# Little enough that AVX, or all of AVX but AVX-512, is usable: xor eax, eax; or mov al, 7.
ANSWERS = {"SSE2": b"\x31\xc0\x90", "AVX2": b"\xb0\x07\x90"}
CODE = """
import json, sys
from pathlib import Path
import onnxruntime
from tlnlp.model.classifier import Classifier
from tlnlp.model.golden_texts import TEXTS
encoder, _ = Classifier.load(Path(sys.argv[1]), threads=1).views(TEXTS)  # Compares with the golden texts.
print(json.dumps({"from": onnxruntime.__file__, "encoder": encoder.tolist()}))
"""


def limited(folder: Path, answer: bytes) -> Path:
    """Copy ONNX Runtime into a folder, with another answer to its question for the processor's features."""
    package = Path(onnxruntime.__file__).parent
    copy = folder / "onnxruntime"
    shutil.copytree(package, copy, ignore=shutil.ignore_patterns("transformers", "quantization", "tools", "*.pyc"))
    (library,) = (copy / "capi").glob("onnxruntime_pybind11_state*.so")
    data, places = XGETBV.subn(answer, library.read_bytes())
    assert places > 0
    library.write_bytes(data)
    return folder


def computed(code: str, bundle: Path, **environment: str) -> Any:
    """Run code on a bundle in a process of its own, and return what it prints as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", code, str(bundle)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.skipif(platform.machine() != "x86_64" or sys.platform != "linux", reason="the instructions are x86-64's")
@pytest.mark.parametrize("name", ANSWERS)
def test_golden_texts_hold(tiny_bundle: Path, tmp_path: Path, name: str) -> None:
    path = f"{limited(tmp_path, ANSWERS[name])}:{ROOT}"
    found = computed(CODE, tiny_bundle, PYTHONPATH=path, ORT_DISABLE_TELEMETRY="1")
    assert found["from"].startswith(str(tmp_path))
    encoder, _ = Classifier.load(tiny_bundle, threads=1).views(TEXTS)
    difference = float(np.abs(np.asarray(found["encoder"]) - encoder).max())
    print(f"{name}: probabilities move by {difference:.1e} at most, the tolerance is {TOLERANCE:g}")
    assert difference < TOLERANCE / 10
    # Equal bits would show that both computed with the same instructions, as some processors do with AVX2 at hand.
    assert difference > 0 or name == "AVX2"


INT8_CODE = """
import json, sys
from pathlib import Path
from tlnlp.model.classifier import Classifier
from tlnlp.model.golden_texts import TEXTS
from tlnlp.model.profile import CTRANSLATE2_INT8, Profile
encoder, _ = Classifier.load(Path(sys.argv[1]), 1, Profile(CTRANSLATE2_INT8)).views(TEXTS)
print(json.dumps(encoder.tolist()))
"""


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the instructions are x86-64's")
@pytest.mark.parametrize("name", ["GENERIC", "AVX", "AVX2", "AVX512"])
def test_golden_texts_hold_with_int8_weights(tiny_bundle: Path, name: str) -> None:
    found = computed(INT8_CODE, tiny_bundle, PYTHONPATH=str(ROOT), CT2_FORCE_CPU_ISA=name)
    encoder, _ = Classifier.load(tiny_bundle, 1, Profile(CTRANSLATE2_INT8)).views(TEXTS)
    difference = float(np.abs(np.asarray(found) - encoder).max())
    print(f"{name}: int8 probabilities move by {difference:.1e} at most, the tolerance is {INT8_TOLERANCE:g}")
    assert difference < INT8_TOLERANCE / 2
