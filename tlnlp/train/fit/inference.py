"""What a model under training says of texts: pooled states and probabilities, a batch at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from tlnlp.model.combine import Floats, softmax
from tlnlp.model.tokenize import by_length, pad
from tlnlp.model.torch_encoder import TextClassifier

# Texts at once where nothing is learned from them.
READ_BATCH = 32


def features(
    model: TextClassifier, encoded: Sequence[NDArray[np.int32]], pad_token_id: int, device: torch.device, bf16: bool
) -> Floats:
    """Pooled states (texts, hidden) of texts as they are, in the order given."""
    return _outputs(model, encoded, pad_token_id, device, bf16, features=True)


def read(
    model: TextClassifier, encoded: Sequence[NDArray[np.int32]], pad_token_id: int, device: torch.device, bf16: bool
) -> Floats:
    """Probabilities (texts, classes) of texts as they are, in the order given."""
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
    model.eval()
    found = np.zeros((len(encoded), model.head.in_features if features else model.head.out_features))
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=bf16):
        for positions in by_length(encoded, READ_BATCH):
            parts = pad([encoded[position] for position in positions], pad_token_id)
            output = model(*(torch.from_numpy(part).to(device) for part in parts), features=features)
            found[positions] = output.float().cpu().numpy()
    return found
