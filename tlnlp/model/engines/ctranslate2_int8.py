"""Run the encoder view in CTranslate2 with int8 weights, for networks of BERT's kind.

Activations are scaled token by token, so a text's scores do not depend on the texts that it is read with; nothing is
padded. Pooling and head are computed here, text by text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tlnlp.errors import BundleError
from tlnlp.model.combine import Floats, softmax
from tlnlp.model.engines.int8_weights import Tensors, reduced, to_ctranslate2
from tlnlp.model.engines.memory_errors import memory_errors
from tlnlp.model.engines.network import Network
from tlnlp.model.engines.processor import saturates
from tlnlp.model.engines.side_by_side import each_group, thread_count
from tlnlp.model.tokenize import Ids, of_one_length

# Int8 weights and activations in the products, float32 in the rest.
COMPUTE_TYPE = "int8_float32"


class CTranslate2Int8Engine:
    """Compute class probabilities from token ids with an int8 network.

    Args:
        tensors: the quantised network (see ``int8_weights.quantise``).
        head: ``weight`` (classes, hidden) and ``bias`` (classes,).
        pooling: ``mean``, ``cls`` (the first state) or ``max``.
        normalise: whether pooled states are scaled to the length sqrt(hidden).
        threads: most texts that are read at the same time; 0 means one for each core.

    Raises:
        BundleError: CTranslate2 cannot open the network.
    """

    tokens_at_once: ClassVar[int] = 512
    """Tokens that are read at once, about."""

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
            "model.bin": to_ctranslate2(self._suited(tensors), network),
            "config.json": json.dumps(config | {"layer_norm_epsilon": network.epsilon}).encode(),
            "vocabulary.json": json.dumps(vocabulary).encode(),
        }
        self._threads = thread_count(threads)
        self._encoder = self._open(files)
        self._weight, self._bias = (np.array(head[name], dtype=np.float64) for name in ("weight", "bias"))
        self._pooling, self._normalise = pooling, normalise

    def _suited(self, tensors: Tensors) -> Tensors:
        """Return the weights as this processor multiplies them without an overflow."""
        return reduced(tensors) if saturates() else tensors

    def _open(self, files: Mapping[str, bytes]) -> Any:
        import ctranslate2

        threads = {"inter_threads": self._threads, "intra_threads": 1}
        try:
            return ctranslate2.Encoder("int8", compute_type=COMPUTE_TYPE, files=files, **threads)
        except (RuntimeError, ValueError) as error:
            raise BundleError(f"CTranslate2 cannot open the int8 encoder ({type(error).__name__})") from error

    def predict(self, encoded: Sequence[Ids]) -> Floats:
        """Return probabilities (texts, classes) of token ids, in the order given.

        On one processor, those of a text are the same bits whatever the other texts are.

        Raises:
            MemoryError: there is too little memory for a text.
        """
        logits = np.zeros((len(encoded), len(self._bias)), dtype=np.float64)
        for position, pooled in enumerate(self.pooled_states(encoded)):
            logits[position] = (self._weight * pooled).sum(axis=1) + self._bias
        return softmax(logits)

    def pooled_states(self, encoded: Sequence[Ids]) -> Floats:
        """Return the pooled states (texts, hidden) of token ids, in the order given.

        Raises:
            MemoryError: there is too little memory for a text.
        """

        def read(positions: list[int]) -> list[Floats]:
            """Return the pooled states of texts of one length."""
            return [self._pooled(own) for own in self.states([encoded[position] for position in positions])]

        pooled = np.zeros((len(encoded), self._weight.shape[1]), dtype=np.float64)
        for positions, found in each_group(read, list(of_one_length(encoded, self.tokens_at_once)), self._threads):
            pooled[positions] = found
        return pooled

    def states(self, encoded: Sequence[Ids]) -> NDArray[np.float32]:
        """Return the states (texts, tokens, hidden) of equally long texts."""
        return self._forward(np.array(encoded, dtype=np.int32))

    def _forward(self, input_ids: NDArray[np.int32]) -> NDArray[np.float32]:
        with memory_errors("CTranslate2"):
            return np.array(self._run(input_ids))

    def _run(self, input_ids: NDArray[np.int32]) -> Any:
        """Return the library's view of the states, which lies where the network does."""
        lengths = np.full(len(input_ids), input_ids.shape[1], dtype=np.int32)
        return self._encoder.forward_batch(self._view(input_ids), self._view(lengths)).last_hidden_state

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
