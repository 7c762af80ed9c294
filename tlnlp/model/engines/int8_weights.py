"""Quantise a network of BERT's kind to int8, under CTranslate2's names, and write CTranslate2's format of models.

Each row of a matrix is scaled by its largest value, as CTranslate2 does; the activations are scaled token by token when
a text is read, so no texts are needed for calibration. Biases and layer normalisations stay float32.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlnlp.model.engines.network import ACTIVATIONS, Network

Tensors = Mapping[str, NDArray[Any]]
LARGEST = 127
# Largest weight where a processor adds pairs of products with unsigned bytes in 16 bits: 2 * 255 * 63 is below 2^15.
LARGEST_OF_PAIRS = 63
SCALE = "_scale"
# The embeddings of token ids, and their scales.
TOKEN_EMBEDDINGS = ("encoder/embeddings_0/weight", f"encoder/embeddings_0/weight{SCALE}")
# Version of the format, name and revision of the layout, as CTranslate2 4 reads and writes them.
FORMAT, LAYOUT, REVISION = 6, "TransformerEncoderSpec", 1
_TYPE_NUMBERS = {"float32": 0, "int8": 1, "int16": 2, "int32": 3}
# Where transformers keeps the parts of a layer: attention's three inputs, its output, the feed-forward part's two, and
# the two normalisations.
_BERT = {
    "attention": ("attention.self.query", "attention.self.key", "attention.self.value"),
    "self_attention/linear_1": "attention.output.dense",
    "self_attention/layer_norm": "attention.output.LayerNorm",
    "ffn/linear_0": "intermediate.dense",
    "ffn/linear_1": "output.dense",
    "ffn/layer_norm": "output.LayerNorm",
}
_DISTILBERT = {
    "attention": ("attention.q_lin", "attention.k_lin", "attention.v_lin"),
    "self_attention/linear_1": "attention.out_lin",
    "self_attention/layer_norm": "sa_layer_norm",
    "ffn/linear_0": "ffn.lin1",
    "ffn/linear_1": "ffn.lin2",
    "ffn/layer_norm": "output_layer_norm",
}


def float_weights(state: Tensors, network: Network) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Yield the weights of a network under CTranslate2's names, not quantised.

    Args:
        state: tensors of the encoder by their names in transformers.

    Raises:
        KeyError: a tensor is missing.
    """
    yield TOKEN_EMBEDDINGS[0], state["embeddings.word_embeddings.weight"]
    positions = state["embeddings.position_embeddings.weight"][network.first_position :]
    # Every token is of the first segment.
    if network.types:
        positions = positions + state["embeddings.token_type_embeddings.weight"][0]
    yield "encoder/position_encodings/encodings", positions
    yield from _norm(state, "encoder/layernorm_embedding", "embeddings.LayerNorm")
    parts, place = (_DISTILBERT, "transformer") if network.kind == "distilbert" else (_BERT, "encoder")
    for layer in range(network.layers):
        source, target = f"{place}.layer.{layer}.", f"encoder/layer_{layer}/"
        for kind in ("weight", "bias"):
            inputs = [state[f"{source}{name}.{kind}"] for name in parts["attention"]]
            yield f"{target}self_attention/linear_0/{kind}", np.concatenate(inputs)
        for name, own in parts.items():
            if name.endswith("layer_norm"):
                yield from _norm(state, target + name, f"{source}{own}")
            elif name != "attention":
                for kind in ("weight", "bias"):
                    yield f"{target}{name}/{kind}", state[f"{source}{own}.{kind}"]


def _norm(state: Tensors, target: str, source: str) -> Iterator[tuple[str, NDArray[np.float32]]]:
    yield f"{target}/gamma", state[f"{source}.weight"]
    yield f"{target}/beta", state[f"{source}.bias"]


def quantise(state: Tensors, network: Network) -> dict[str, NDArray[Any]]:
    """Return the int8 weights of a network with their scales, and its float32 rest, under CTranslate2's names.

    Args:
        state: tensors of the encoder by their names in transformers.

    Raises:
        KeyError: a tensor is missing.
    """
    tensors: dict[str, NDArray[Any]] = {}
    for name, values in float_weights(state, network):
        if name.endswith("/weight"):
            tensors[name], tensors[name + SCALE] = _rows_to_int8(np.asarray(values, dtype=np.float32))
        else:
            tensors[name] = np.ascontiguousarray(values, dtype=np.float32)
    return tensors


def _rows_to_int8(values: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    largest = np.abs(values).max(axis=1)
    scales = np.float32(LARGEST) / np.where(largest == 0, np.float32(LARGEST), largest)
    return np.rint(values * scales[:, None]).astype(np.int8), scales.astype(np.float32)


def reduced(tensors: Tensors) -> dict[str, NDArray[Any]]:
    """Return the weights of matrices with 7 bits, which cannot saturate where pairs of products are added in 16 bits.

    Source: ``reduce_range`` of ONNX Runtime's quantisation.
    """
    found = dict(tensors)
    share = np.float32(LARGEST_OF_PAIRS / LARGEST)
    for name, values in tensors.items():
        if values.dtype == np.int8 and name not in TOKEN_EMBEDDINGS:  # Embeddings are looked up, not multiplied.
            found[name] = np.rint(values * share).astype(np.int8)
            found[name + SCALE] = tensors[name + SCALE] * share
    return found


def shapes_of(network: Network) -> tuple[dict[str, tuple[int, ...]], dict[str, str]]:
    """Return the shape of each tensor of a quantised network, and the types of those that are not float32."""
    hidden, inner = network.hidden, network.inner
    matrices: dict[str, tuple[int, ...]] = {"encoder/embeddings_0": (network.tokens, hidden)}
    positions = network.positions - network.first_position
    floats: dict[str, tuple[int, ...]] = {"encoder/position_encodings/encodings": (positions, hidden)}
    norms = ["encoder/layernorm_embedding"]
    for layer in range(network.layers):
        place = f"encoder/layer_{layer}/"
        norms += [f"{place}self_attention/layer_norm", f"{place}ffn/layer_norm"]
        for name, rows, columns in (
            ("self_attention/linear_0", 3 * hidden, hidden),
            ("self_attention/linear_1", hidden, hidden),
            ("ffn/linear_0", inner, hidden),
            ("ffn/linear_1", hidden, inner),
        ):
            matrices[place + name] = (rows, columns)
            floats[f"{place}{name}/bias"] = (rows,)
    floats |= {f"{name}/{kind}": (hidden,) for name in norms for kind in ("gamma", "beta")}
    floats |= {f"{name}/weight{SCALE}": shape[:1] for name, shape in matrices.items()}
    weights = {f"{name}/weight": shape for name, shape in matrices.items()}
    return floats | weights, dict.fromkeys(weights, "int8")


def to_ctranslate2(tensors: Tensors, network: Network) -> bytes:
    """Return a quantised network in CTranslate2's format of models (``model.bin``).

    Source: the library's ``ModelSpec.save``. Its module imports torch wherever torch is installed, and a worker has no
    need of it. A test compares the states of texts with those after the library's own conversion.
    """
    numbers: dict[str, Any] = {
        "encoder/activation": np.int8(ACTIVATIONS[network.activation]),
        "encoder/embeddings_merge": np.int8(0),
        "encoder/multi_query_attention": np.int8(0),
        "encoder/num_heads": np.int16(network.heads),
        "encoder/pre_norm": np.int8(0),
        "encoder/scale_embeddings": np.int8(0),
    }
    variables = sorted({**tensors, **numbers}.items())
    parts = [struct.pack("<I", FORMAT), _text(LAYOUT), struct.pack("<II", REVISION, len(variables))]
    for name, value in variables:
        shape = np.shape(value)
        head = struct.pack(f"<B{len(shape)}IBI", len(shape), *shape, _TYPE_NUMBERS[str(value.dtype)], value.nbytes)
        parts += [_text(name), head, value.tobytes()]
    return b"".join([*parts, struct.pack("<I", 0)])  # No tensor stands for another one.


def _text(text: str) -> bytes:
    return struct.pack("<H", len(text) + 1) + text.encode() + b"\0"
