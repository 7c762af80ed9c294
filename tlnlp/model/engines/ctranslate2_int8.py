"""Run the encoder view in CTranslate2 with int8 weights, for networks of BERT's kind.

Activations are scaled token by token, so a text's scores do not depend on the texts that it is read with; nothing is
padded. Pooling and head are computed here, text by text.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlnlp.errors import BundleError
from tlnlp.model.combine import Floats, softmax
from tlnlp.model.engines.int8_weights import Tensors, to_ctranslate2
from tlnlp.model.engines.network import Network
from tlnlp.model.tokenize import Ids, of_one_length

# Tokens that are read at once, about.
TOKENS_AT_ONCE = 512


class CTranslate2Int8Engine:
    """Compute class probabilities from token ids with an int8 network.

    Args:
        tensors: the quantised network (see ``int8_weights.quantise``).
        head: ``weight`` (classes, hidden) and ``bias`` (classes,).
        pooling: ``mean``, ``cls`` (the first state) or ``max``.
        normalise: whether pooled states are scaled to the length sqrt(hidden).
        threads: threads of CTranslate2; 0 means one for each core.

    Raises:
        BundleError: CTranslate2 cannot open the network.
    """

    def __init__(
        self,
        tensors: Tensors,
        network: Network,
        head: Tensors,
        pooling: str,
        normalise: bool = False,
        threads: int = 0,
    ) -> None:
        import ctranslate2

        self._view = ctranslate2.StorageView.from_array
        # The library wants names for tokens. Nothing here reads them, since texts come as token ids.
        vocabulary = [str(token) for token in range(network.tokens)]
        config = dict.fromkeys(("unk_token", "bos_token", "eos_token"), vocabulary[0])
        files = {
            "model.bin": to_ctranslate2(tensors, network),
            "config.json": json.dumps(config | {"layer_norm_epsilon": network.epsilon}).encode(),
            "vocabulary.json": json.dumps(vocabulary).encode(),
        }
        try:
            self._encoder = ctranslate2.Encoder(
                "int8", compute_type="int8_float32", intra_threads=threads or len(os.sched_getaffinity(0)), files=files
            )
        except (RuntimeError, ValueError) as error:
            raise BundleError(f"CTranslate2 cannot open the int8 encoder ({type(error).__name__})") from error
        self._weight, self._bias = (np.array(head[name], dtype=np.float64) for name in ("weight", "bias"))
        self._pooling, self._normalise = pooling, normalise

    def predict(self, encoded: Sequence[Ids]) -> Floats:
        """Return probabilities (texts, classes) of token ids, in the order given.

        On one processor, those of a text are the same bits whatever the other texts are.

        Raises:
            MemoryError: there is too little memory for a text.
        """
        logits = np.zeros((len(encoded), len(self._bias)), dtype=np.float64)
        for positions in of_one_length(encoded, TOKENS_AT_ONCE):
            states = self.states([encoded[position] for position in positions])
            for position, own in zip(positions, states, strict=True):
                logits[position] = (self._weight * self._pooled(own)).sum(axis=1) + self._bias
        return softmax(logits)

    def states(self, encoded: Sequence[Ids]) -> NDArray[np.float32]:
        """Return the states (texts, tokens, hidden) of equally long texts."""
        input_ids = np.array(encoded, dtype=np.int32)
        lengths = np.full(len(input_ids), input_ids.shape[1], dtype=np.int32)
        try:
            output = self._encoder.forward_batch(self._view(input_ids), self._view(lengths))
        except RuntimeError as error:
            if "alloc" in str(error):
                raise MemoryError("CTranslate2 has too little memory for a text") from error
            raise
        return np.array(output.last_hidden_state)

    def _pooled(self, states: NDArray[Any]) -> Floats:
        """Return one vector (hidden,) of the states of a text (tokens, hidden)."""
        if self._pooling == "cls":
            pooled = states[0].astype(np.float64)
        elif self._pooling == "max":
            pooled = states.max(axis=0).astype(np.float64)
        else:
            pooled = states.mean(axis=0, dtype=np.float64)
        if self._normalise:
            pooled *= len(pooled) ** 0.5 / max(float(np.sqrt((pooled * pooled).sum())), 1e-12)
        return np.asarray(pooled)
