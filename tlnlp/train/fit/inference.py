"""Run a model without training it: pooled states and probabilities of texts, in torch or with int8 weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from tlnlp.model.combine import Floats, softmax
from tlnlp.model.engines.ctranslate2_int8 import CTranslate2Int8Engine
from tlnlp.model.engines.int8_weights import quantise
from tlnlp.model.engines.network import network_of
from tlnlp.model.tokenize import by_length, pad
from tlnlp.model.torch_encoder import TextClassifier

# Texts per batch of a pass without gradients.
INFERENCE_BATCH = 32


def pooled_states(
    model: TextClassifier, encoded: Sequence[NDArray[np.int32]], pad_token_id: int, device: torch.device, bf16: bool
) -> Floats:
    """Return the pooled states (texts, hidden) of tokenized texts, in their order. Texts are not cut."""
    return _outputs(model, encoded, pad_token_id, device, bf16, features=True)


def predict(
    model: TextClassifier, encoded: Sequence[NDArray[np.int32]], pad_token_id: int, device: torch.device, bf16: bool
) -> Floats:
    """Return the probabilities (texts, classes) of tokenized texts, in their order. Texts are not cut."""
    return softmax(_outputs(model, encoded, pad_token_id, device, bf16, features=False))


def int8_engine(model: TextClassifier, threads: int) -> CTranslate2Int8Engine:
    """Return the engine that reads with the int8 weights of a model.

    Args:
        threads: threads of the engine.

    Raises:
        ValueError: the network is of another kind than the engine can run.
    """
    network = network_of(model.encoder.config.to_dict())  # type: ignore[union-attr, operator]
    if network is None:
        raise ValueError("no int8 engine can run the network of this encoder")
    state, head = (
        {name: tensor.cpu().numpy() for name, tensor in part.state_dict().items()}
        for part in (model.encoder, model.head)
    )
    return CTranslate2Int8Engine(quantise(state, network), network, head, model.pooling, model.normalise, threads)


def _outputs(
    model: TextClassifier,
    encoded: Sequence[NDArray[np.int32]],
    pad_token_id: int,
    device: torch.device,
    bf16: bool,
    *,
    features: bool,
) -> Floats:
    """Return pooled states (texts, hidden) with ``features``, else logits (texts, classes)."""
    model.eval()
    outputs = np.zeros((len(encoded), model.head.in_features if features else model.head.out_features))
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=bf16):
        for positions in by_length(encoded, INFERENCE_BATCH):
            parts = pad([encoded[position] for position in positions], pad_token_id)
            output = model(*(torch.from_numpy(part).to(device) for part in parts), features=features)
            outputs[positions] = output.float().cpu().numpy()
    return outputs
