"""Describe a network of BERT's kind, as its ``config.json`` does: what an engine needs beside the weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Activations by their names in transformers, with their numbers in CTranslate2.
ACTIVATIONS = {
    "relu": 0,
    "gelu_new": 1,
    "gelu_fast": 1,
    "gelu_pytorch_tanh": 1,
    "silu": 2,
    "swish": 2,
    "gelu": 3,
    "gelu_python": 3,
}
# DistilBERT's layer normalisation has this constant in its code.
DISTILBERT_EPSILON = 1e-12


@dataclass(frozen=True)
class Network:
    """Hold the sizes of a network whose layers are normalised after attention and after the feed-forward part.

    Fields:
        kind: ``bert``, ``roberta``, ``xlm-roberta`` or ``distilbert``.
        layers, heads: numbers of layers, and of attention heads in a layer.
        hidden, inner: widths of the states and of the feed-forward part.
        tokens: rows of the embedding of token ids.
        positions: rows of the embedding of positions.
        first_position: row of the first token's position; RoBERTa reserves the rows before it.
        types: rows of the embedding of segments; 0 if there is none.
        activation: name of the feed-forward part's activation.
        epsilon: constant of the layer normalisation.
    """

    kind: str
    layers: int
    heads: int
    hidden: int
    inner: int
    tokens: int
    positions: int
    first_position: int
    types: int
    activation: str
    epsilon: float


def network_of(config: Mapping[str, Any]) -> Network | None:
    """Return the network that a ``config.json`` describes; None if it is of another kind.

    Raises:
        KeyError, TypeError, ValueError: a size is missing or no number.
    """
    kind = config.get("model_type")
    if kind == "distilbert":
        sizes = [int(config[name]) for name in ("n_layers", "n_heads", "dim", "hidden_dim")]
        activation, epsilon, types = config["activation"], DISTILBERT_EPSILON, 0
    elif kind in ("bert", "roberta", "xlm-roberta"):
        names = ("num_hidden_layers", "num_attention_heads", "hidden_size", "intermediate_size")
        sizes = [int(config[name]) for name in names]
        activation, epsilon = config["hidden_act"], float(config["layer_norm_eps"])
        types = int(config["type_vocab_size"])
        if config.get("position_embedding_type", "absolute") != "absolute" or config.get("is_decoder"):
            return None
    else:
        return None
    layers, heads, hidden, inner = sizes
    if activation not in ACTIVATIONS or min(sizes) < 1 or hidden % heads:
        return None
    first = int(config["pad_token_id"]) + 1 if kind in ("roberta", "xlm-roberta") else 0
    tokens, positions = int(config["vocab_size"]), int(config["max_position_embeddings"])
    return Network(str(kind), layers, heads, hidden, inner, tokens, positions, first, types, str(activation), epsilon)


def known_network(config: Mapping[str, Any]) -> Network | None:
    """Return what ``network_of`` does; None also if a size is missing or no number."""
    try:
        return network_of(config)
    except (KeyError, TypeError, ValueError):
        return None
