"""Open the engine that runs a bundle's encoder view."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from tlnlp.model import bundle
from tlnlp.model.bounded_json import parse_object
from tlnlp.model.bundle_spec import BundleSpec
from tlnlp.model.combine import Floats
from tlnlp.model.engines.ctranslate2_int8 import CTranslate2Int8Engine
from tlnlp.model.engines.network import Network, network_of
from tlnlp.model.engines.onnx_fp32 import OnnxFp32Engine
from tlnlp.model.profile import CTRANSLATE2_INT8
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


def open_engine(folder: Path, spec: BundleSpec, name: str, threads: int = 0) -> Engine:
    """Open an engine on the files of a bundle, which were checked before (see ``bundle_checks``).

    Args:
        name: a name in ``bundle.ENGINES``.
        threads: most threads of the engine; 0 means one for each core.

    Raises:
        BundleError: the engine cannot open the files.
    """
    if name == CTRANSLATE2_INT8:
        network = read_network(folder)
        assert network is not None
        tensors, head = map_tensors(folder / bundle.INT8), map_tensors(folder / bundle.HEAD)
        return CTranslate2Int8Engine(tensors, network, head, spec.pooling, spec.normalise, threads)
    return OnnxFp32Engine(folder / bundle.GRAPH, spec.input_names, threads)


def read_network(folder: Path) -> Network | None:
    """Return the network of a bundle's encoder as ``config.json`` describes it; None if no int8 engine can run it.

    Raises:
        BundleError: the file is not JSON.
    """
    values = parse_object((folder / bundle.CONFIG).read_bytes(), str(folder / bundle.CONFIG))
    try:
        return network_of(values)
    except (KeyError, TypeError, ValueError):
        return None
