"""Run a model in torch without training it: pooled states and probabilities of texts, in batches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from tlnlp.model.combine import Floats, softmax
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
