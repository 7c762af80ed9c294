"""The student of a bundle: an encoder of few layers with int8 weights, which a cascade asks before the encoder.

It has layers, positions and a head of its own, and shares the embeddings of token ids with the encoder's int8 weights:
these are the larger part of a small network, and training leaves them as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from tlnlp.errors import BundleError
from tlnlp.model import bundle
from tlnlp.model.bounded_json import AGAIN
from tlnlp.model.bundle_spec import BundleSpec, StudentSpec
from tlnlp.model.combine import Floats
from tlnlp.model.engines.ctranslate2_int8 import CTranslate2Int8Engine
from tlnlp.model.engines.int8_weights import TOKEN_EMBEDDINGS, quantise, shapes_of
from tlnlp.model.engines.network import Network
from tlnlp.model.engines.network_file import read_network
from tlnlp.model.tensor_file import check_tensors, map_tensors
from tlnlp.model.tokenize import Encoder

HEAD = "head/"


@dataclass(frozen=True)
class Student:
    """Read texts with a student.

    Fields:
        encoder: the tokenizer with the student's length limit.
        engine: the student with its head.
    """

    encoder: Encoder
    engine: CTranslate2Int8Engine

    def predict(self, encoded: list[list[int]]) -> Floats:
        """Return probabilities (texts, classes) of the token ids that the encoder would read.

        Raises:
            MemoryError: there is too little memory for a text.
        """
        return self.engine.predict(self.encoder.shorten(encoded))


def save_student(folder: Path, weights: Mapping[str, Any], layers: int) -> None:
    """Write a student into the folder of a bundle that holds its encoder's int8 weights.

    Args:
        weights: tensors of the student and its head, by their names in ``TextClassifier``.
        layers: number of its layers.
    """
    network = _network(folder, layers)
    arrays = {name: np.asarray(tensor, dtype=np.float32) for name, tensor in weights.items()}
    state = {name.removeprefix("encoder."): array for name, array in arrays.items() if name.startswith("encoder.")}
    tensors = quantise(state, network)
    shared = map_tensors(folder / bundle.INT8)
    assert all(np.array_equal(tensors.pop(name), shared[name]) for name in TOKEN_EMBEDDINGS)
    head = {f"{HEAD}{name}": arrays[f"head.{name}"] for name in ("weight", "bias")}
    save_file(tensors | head, folder / bundle.STUDENT)


def open_student(folder: Path, spec: BundleSpec, encoder: Encoder, threads: int = 0) -> Student:
    """Open the student of a bundle, whose files were checked before (see ``check_student``).

    Args:
        encoder: the tokenizer of the bundle.
        threads: most threads of the engine; 0 means one for each core.

    Raises:
        BundleError: the engine cannot open the network.
    """
    assert spec.student is not None
    tensors, shared = dict(map_tensors(folder / bundle.STUDENT)), map_tensors(folder / bundle.INT8)
    head = {name: tensors.pop(HEAD + name) for name in ("weight", "bias")}
    tensors |= {name: shared[name] for name in TOKEN_EMBEDDINGS}
    network = _network(folder, spec.student.layers)
    engine = CTranslate2Int8Engine(tensors, network, head, spec.pooling, spec.normalise, threads)
    return Student(replace(encoder, max_length=spec.student.max_length), engine)


def check_student(folder: Path, spec: BundleSpec, network: Network) -> None:
    """Check that the tensors of a bundle's student fit its description, and are finite.

    Args:
        network: the network of the bundle's encoder.

    Raises:
        BundleError: there is a student and no description, or the reverse; or a tensor does not fit.
    """
    path = folder / bundle.STUDENT
    if path.exists() is not (spec.student is not None):
        raise BundleError(f"{folder}: {bundle.SPEC} and {path.name} disagree on whether there is a student; {AGAIN}")
    if spec.student is None:
        return
    _check_sizes(folder, spec.student, network, spec.max_length)
    shapes, types = shapes_of(replace(network, layers=spec.student.layers))
    classes = len(spec.classes)
    own = {name: shape for name, shape in shapes.items() if name not in TOKEN_EMBEDDINGS}
    own |= {f"{HEAD}weight": (classes, network.hidden), f"{HEAD}bias": (classes,)}
    own_types = {name: kind for name, kind in types.items() if name in own}
    check_tensors(path, map_tensors(path), own, own_types, described_by=bundle.SPEC)


def _check_sizes(folder: Path, student: StudentSpec, network: Network, max_length: int) -> None:
    if student.layers >= network.layers or student.max_length > max_length:
        raise BundleError(
            f"{folder / bundle.SPEC}: the student has {student.layers} layers and reads {student.max_length} tokens, "
            f"and its encoder {network.layers} and {max_length}; {AGAIN}"
        )


def _network(folder: Path, layers: int) -> Network:
    network = read_network(folder)
    assert network is not None
    return replace(network, layers=layers)
