"""Open the engine that runs a bundle's encoder view."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from tlnlp.model import bundle
from tlnlp.model.bundle_spec import BundleSpec
from tlnlp.model.combine import Floats
from tlnlp.model.engines.ctranslate2_cuda import CTranslate2CudaEngine
from tlnlp.model.engines.ctranslate2_int8 import CTranslate2Int8Engine
from tlnlp.model.engines.network_file import read_network
from tlnlp.model.engines.onnx_fp32 import OnnxFp32Engine
from tlnlp.model.profile import CTRANSLATE2_CUDA_INT8, INT8_ENGINES
from tlnlp.model.tensor_file import map_tensors
from tlnlp.model.tokenize import Ids


class Engine(Protocol):
    """Compute class probabilities from token ids. Those of a text do not depend on the texts that are read with it."""

    def predict(self, encoded: Sequence[Ids]) -> Floats:
        """Return probabilities (texts, classes) of token ids, in the order given.

        Raises:
            MemoryError: there is too little memory for a text.
        """
        ...


def open_engine(folder: Path, spec: BundleSpec, name: str, threads: int = 0, gpu: int = 0) -> Engine:
    """Open an engine on the files of a bundle, which were checked before (see ``bundle_checks``).

    Args:
        name: a name in ``bundle.ENGINES``.
        threads: most threads of the engine; 0 means one for each core.
        gpu: index of the GPU for an engine that needs one.

    Raises:
        BundleError: the engine cannot open the files.
        EngineError: this process cannot use the GPU.
    """
    if name in INT8_ENGINES:
        network = read_network(folder)
        assert network is not None
        tensors, head = map_tensors(folder / bundle.INT8), map_tensors(folder / bundle.HEAD)
        if name == CTRANSLATE2_CUDA_INT8:
            return CTranslate2CudaEngine(tensors, network, head, spec.pooling, spec.normalise, gpu)
        return CTranslate2Int8Engine(tensors, network, head, spec.pooling, spec.normalise, threads)
    return OnnxFp32Engine(folder / bundle.GRAPH, spec.input_names, threads)
