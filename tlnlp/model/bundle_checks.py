"""Check that the files of a bundle mean a sound model: values in their domains, shapes that agree, finite weights.

Whoever can write a registry can write a manifest, so digests that match prove nothing about the model. These checks
run no part of the model, and read each weight once.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tlnlp.errors import BundleError
from tlnlp.model import bundle
from tlnlp.model.bounded_json import AGAIN, LARGE_LIMIT_BYTES, LIMIT_BYTES, check_size, parse_object
from tlnlp.model.bundle_spec import BundleSpec, read_spec
from tlnlp.model.engines.int8_weights import quantise, shapes_of
from tlnlp.model.engines.network_file import read_network
from tlnlp.model.golden_texts import GoldenTexts, read_golden
from tlnlp.model.learned_texts import read_learned
from tlnlp.model.onnx_file import check_graph
from tlnlp.model.profile import CTRANSLATE2_CUDA_INT8, CTRANSLATE2_INT8, INT8_ENGINES, ONNX_FP32
from tlnlp.model.student import check_student
from tlnlp.model.tensor_file import check_tensors, map_tensors
from tlnlp.model.tokenize import Encoder

JSON_FILES = (bundle.CONFIG, "tokenizer_config.json")


@dataclass(frozen=True)
class Contents:
    """Hold what the checks found.

    Fields:
        spec: the bundle's description.
        embedding_rows: number of token ids that the engine's embedding has; None if that is not to be seen.
        golden: the bundle's golden texts; None if it was made before there were any.
    """

    spec: BundleSpec
    embedding_rows: int | None
    golden: GoldenTexts | None


def check_contents(folder: Path, only: str | None = None) -> Contents:
    """Check what the files of a bundle hold.

    Args:
        only: name of an engine: the folder holds only the files that scoring with it reads. None: it holds all files.

    Raises:
        BundleError: a file holds what no sound model has; the message names the file and the value.
    """
    spec = read_spec(folder)
    classes = len(spec.classes)
    check_size((folder / bundle.TOKENIZER).stat().st_size, str(folder / bundle.TOKENIZER), LARGE_LIMIT_BYTES)
    ngram = map_tensors(folder / bundle.NGRAM)
    columns = 1 if classes == 2 and "weights" in ngram and ngram["weights"].shape[1:] == (1,) else classes
    shapes = {"weights": (spec.ngram_features, columns), "bias": (classes,)}
    check_tensors(folder / bundle.NGRAM, ngram, shapes)
    rows = None
    if only in (None, ONNX_FP32):
        rows = check_graph(folder / bundle.GRAPH, folder / bundle.GRAPH_WEIGHTS, classes, spec.input_names)
        if rows is not None and spec.pad_token_id >= rows:
            raise BundleError(
                f"{folder / bundle.SPEC}: pad_token_id is {spec.pad_token_id}, and the embedding in {bundle.GRAPH} "
                f"has only {rows} token ids; {AGAIN}"
            )
    if only is None:
        _check_encoder(folder, spec)
        read_learned(folder)
    if only in INT8_ENGINES or (only is None and _has_int8(folder, spec)):
        own = _check_int8(folder, spec, only)
        rows = own if rows is None else min(rows, own)
    return Contents(spec, rows, _golden(folder, spec))


def _has_int8(folder: Path, spec: BundleSpec) -> bool:
    """Return whether a whole bundle has int8 weights. Raises BundleError if its own engine needs them in vain."""
    found = (folder / bundle.INT8).exists()
    if not found and spec.engine == CTRANSLATE2_INT8:
        raise BundleError(f"{folder / bundle.SPEC}: the engine is {spec.engine}, and {bundle.INT8} is missing; {AGAIN}")
    return found


def check_vocabulary(folder: Path, contents: Contents, encoder: Encoder) -> None:
    """Check that every token id of the tokenizer is within the embedding. Raises BundleError."""
    largest = encoder.largest_id
    if contents.embedding_rows is not None and largest >= contents.embedding_rows:
        raise BundleError(
            f"{folder / bundle.TOKENIZER}: it has the token id {largest}, and the embedding of the encoder has only "
            f"{contents.embedding_rows} token ids; {AGAIN}"
        )


def _check_int8(folder: Path, spec: BundleSpec, only: str | None) -> int:
    """Check the int8 weights, and in a whole bundle that they follow from the encoder's; return their token ids."""
    path, network = folder / bundle.INT8, read_network(folder)
    if network is None:
        raise BundleError(f"{folder / bundle.CONFIG}: no network that {bundle.INT8} could be of; {AGAIN}")
    tensors, head = map_tensors(path), map_tensors(folder / bundle.HEAD)
    check_tensors(path, tensors, *shapes_of(network), described_by=bundle.CONFIG)
    classes = len(spec.classes)
    check_tensors(folder / bundle.HEAD, head, {"weight": (classes, network.hidden), "bias": (classes,)})
    _check_positions(folder, spec, network.positions - network.first_position)
    if only != CTRANSLATE2_CUDA_INT8:  # A GPU reads no student.
        check_student(folder, spec, network)
    if only is None:
        try:
            expected = quantise(map_tensors(folder / bundle.ENCODER), network)
        except (KeyError, ValueError, IndexError) as error:
            raise BundleError(f"{folder / bundle.ENCODER}: lacks a tensor of the network: {error}; {AGAIN}") from error
        for name, values in expected.items():
            if not np.array_equal(tensors[name], values):
                raise BundleError(f"{path}: {name} does not follow from {bundle.ENCODER}; {AGAIN}")
    return network.tokens


def _golden(folder: Path, spec: BundleSpec) -> GoldenTexts | None:
    path = folder / bundle.GOLDEN
    if not path.exists():
        return None
    check_size(path.stat().st_size, str(path), LIMIT_BYTES)
    return read_golden(path.read_bytes(), str(path), spec.classes, spec.combined)


def _check_encoder(folder: Path, spec: BundleSpec) -> None:
    """Check the encoder and its head as other programs read them; scoring reads the graph."""
    check_tensors(folder / bundle.ENCODER, map_tensors(folder / bundle.ENCODER), {})
    head = map_tensors(folder / bundle.HEAD)
    hidden = head["weight"].shape[-1] if "weight" in head and head["weight"].ndim else 0
    check_tensors(folder / bundle.HEAD, head, {"weight": (len(spec.classes), hidden), "bias": (len(spec.classes),)})
    for name in JSON_FILES:
        check_size((folder / name).stat().st_size, str(folder / name), LIMIT_BYTES)
        values = parse_object((folder / name).read_bytes(), str(folder / name))
        positions = values.get("max_position_embeddings")
        if name == bundle.CONFIG and isinstance(positions, int):
            _check_positions(folder, spec, positions)


def _check_positions(folder: Path, spec: BundleSpec, positions: int) -> None:
    if spec.max_length > positions:
        raise BundleError(
            f"{folder / bundle.SPEC}: max_length is {spec.max_length}, and the encoder reads at most {positions} "
            f"tokens by {bundle.CONFIG}; {AGAIN}"
        )
