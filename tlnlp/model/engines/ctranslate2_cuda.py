"""Run the encoder view in CTranslate2 on a GPU, with the int8 weights and the arithmetic of the engine for processors.

Products of matrices are integers, hence exact. What is left in float32 could be added up in another order if a text
had other company: cuBLAS chooses its kernels by shape. So texts of one length are read in groups of one size, which
copies fill up, and every product of a text has the same shape whatever it is read with.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import platform
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlnlp.errors import EngineError
from tlnlp.model.engines.ctranslate2_int8 import COMPUTE_TYPE, CTranslate2Int8Engine
from tlnlp.model.engines.int8_weights import Tensors
from tlnlp.model.engines.memory_errors import memory_errors
from tlnlp.model.engines.network import Network

# Tokens in a full group, about. More would be wasted on copies, since a batch holds few texts of one length.
TOKENS_AT_ONCE = 2048
CUBLAS = "libcublas.so.12"
# What the messages of CUDA and of CTranslate2 mean. The first that matches counts.
_CAUSES = (
    (
        r"driver version is insufficient",
        "there is no NVIDIA driver, or one that is too old for CUDA 12 (it needs 525 or newer); install one",
    ),
    (
        r"no CUDA-capable device|invalid device ordinal|returned 0 devices",
        "CUDA finds no such GPU; check that the discovery script and CUDA_VISIBLE_DEVICES name GPUs of this machine",
    ),
    (r"libcublas", f"{CUBLAS} cannot be loaded; install tlnlp[gpu] for the Python of the workers"),
    (r"do not support efficient|no kernel image", "the GPU is too old for int8; use one of the year 2016 or later"),
    (r"not compiled with CUDA", "this build of CTranslate2 has no CUDA; use its package for Linux on x86-64"),
)


def filled(input_ids: NDArray[np.int32], tokens: int = TOKENS_AT_ONCE) -> NDArray[np.int32]:
    """Return a group of equally long texts (texts, tokens) with copies of the last one up to the size of its length."""
    size = max(1, tokens // max(1, input_ids.shape[1]))
    copies = np.repeat(input_ids[-1:], max(0, size - len(input_ids)), axis=0)
    return np.concatenate([input_ids, copies])


class CTranslate2CudaEngine(CTranslate2Int8Engine):
    """Compute class probabilities from token ids with an int8 network on a GPU.

    Args:
        tensors, network, head, pooling, normalise: see ``CTranslate2Int8Engine``.
        gpu: index of the GPU in the order of their places on the bus, which is that of ``nvidia-smi``.

    Raises:
        EngineError: this process cannot use the GPU, or too little of its memory is free for the encoder.
    """

    tokens_at_once = TOKENS_AT_ONCE

    def __init__(
        self, tensors: Tensors, network: Network, head: Tensors, pooling: str, normalise: bool = False, gpu: int = 0
    ) -> None:
        self._gpu = gpu
        try:
            check_gpu(gpu)
            super().__init__(tensors, network, head, pooling, normalise, threads=1)
            # Loads cuBLAS and the kernels, so that what is wrong with the GPU is not taken for a damaged bundle.
            self.states([[0]])
        except MemoryError as error:
            raise EngineError(
                f"{_named(gpu)}: too little of its memory is free for the encoder; end what else uses it, or let fewer "
                "tasks share it by a larger spark.task.resource.gpu.amount"
            ) from error

    def _suited(self, tensors: Tensors) -> Tensors:
        return tensors  # A GPU adds products in 32 bits.

    def _open(self, files: Mapping[str, bytes]) -> Any:
        import ctranslate2

        _load_cublas()
        with _cuda_errors(self._gpu):
            return ctranslate2.Encoder(
                "int8", device="cuda", device_index=self._gpu, compute_type=COMPUTE_TYPE, files=files
            )

    def _forward(self, input_ids: NDArray[np.int32]) -> NDArray[np.float32]:
        import ctranslate2

        with _cuda_errors(self._gpu):
            output = self._run(filled(input_ids)).to_device(ctranslate2.Device.cpu)
        return np.array(output)[: len(input_ids)]


def check_gpu(gpu: int) -> None:
    """Check that this process can use a GPU.

    Raises:
        EngineError: it cannot; the message says why.
    """
    import ctranslate2

    # By default, CUDA numbers GPUs by their speed, and discovery scripts by their places on the bus.
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    with _cuda_errors(gpu):
        types = ctranslate2.get_supported_compute_types("cuda", gpu)
    if COMPUTE_TYPE not in types:
        raise _engine_error(gpu, "do not support efficient int8")


@contextmanager
def _cuda_errors(gpu: int) -> Iterator[None]:
    """Turn exceptions of CTranslate2 into a MemoryError or an EngineError."""
    try:
        with memory_errors(_named(gpu)):
            yield
    except (RuntimeError, ValueError) as error:
        raise _engine_error(gpu, str(error)) from error


def _engine_error(gpu: int, message: str) -> EngineError:
    """Return the error that says in one sentence what a message of CUDA or CTranslate2 means."""
    for pattern, sentence in _CAUSES:
        if re.search(pattern, message):
            return EngineError(f"{_named(gpu)}: {sentence}, or score with another engine (--set engine=auto)")
    # Only what names a cause is taken from other messages, since they might quote a text.
    known = re.search(r"(?:CUDA failed with error|cuBLAS failed with status) [\w ,.-]+", message)
    return EngineError(f"{_named(gpu)}: {known[0] if known else 'CTranslate2 failed'}; check it with nvidia-smi")


def _named(gpu: int) -> str:
    return f"GPU {gpu} of {platform.node()}"


def _load_cublas() -> None:
    """Load the cuBLAS of the package index, if it is installed: CTranslate2 looks only where the system does."""
    with suppress(ModuleNotFoundError, OSError):
        package = importlib.util.find_spec("nvidia.cublas")
        for folder in (package and package.submodule_search_locations) or ():
            if (library := Path(folder, "lib", CUBLAS)).is_file():
                ctypes.CDLL(str(library))
