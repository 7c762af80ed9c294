"""Run the encoder view in ONNX Runtime, without torch.

A text is read alone or with texts of its very length, so nothing is padded, and its scores are the same bits whatever
it is read with. Short texts gain from company, long ones lose: their states leave the processor's cache.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tlnlp.errors import BundleError
from tlnlp.model.combine import Floats, softmax
from tlnlp.model.engines.memory_errors import memory_errors
from tlnlp.model.engines.side_by_side import each_group, thread_count
from tlnlp.model.tokenize import Ids, of_one_length

# Tokens that are read at once, about. Measured on one core with twelve layers of width 384, ratio to padded batches of
# 32: 205 tokens a text 1.67, 45 tokens 1.82, 15 tokens 1.23; each text alone 1.62, 1.15, 0.35.
TOKENS_AT_ONCE = 512


def load_onnxruntime() -> Any:
    """Import ONNX Runtime without its telemetry, and return the module; no other place imports it.

    On Linux its import writes a device id and a database of events into the home folder, and looks up the host that it
    sends them to, unless this variable is set before. Whoever sets the variable to another value keeps it.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    return onnxruntime


class OnnxFp32Engine:
    """Compute class probabilities from token ids with an exported graph.

    Args:
        graph: path of the ONNX graph.
        input_names: names of the graph's inputs.
        threads: most texts that are read at the same time; 0 means one for each core.

    Raises:
        BundleError: ONNX Runtime cannot open the graph.
    """

    def __init__(self, graph: Path, input_names: Sequence[str], threads: int = 0) -> None:
        ort = load_onnxruntime()
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Without prepacking the weights stay in the mapped file, which the processes of a host share.
        options.add_session_config_entry("session.disable_prepacking", "1")
        try:
            self._session = ort.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
            self._classes = int(self._session.get_outputs()[0].shape[-1])
        except Exception as error:  # The library's exceptions have no common public base class.
            raise BundleError(
                f"{graph}: ONNX Runtime cannot open the graph ({type(error).__name__}); fetch the bundle again"
            ) from error
        self._takes_types, self._threads = "token_type_ids" in input_names, thread_count(threads)

    def predict(self, encoded: Sequence[Ids]) -> Floats:
        """Return probabilities (texts, classes) of token ids, in the order given.

        On one processor, those of a text are the same bits whatever the other texts are. (A graph that was exported
        before ``TextClassifier.by_rows`` gives them to the last bits of a float32 only.)

        Raises:
            MemoryError: there is too little memory for a text.
        """

        def read(positions: list[int]) -> Any:
            """Return the logits of texts of one length."""
            input_ids = np.array([encoded[position] for position in positions], dtype=np.int64)
            feed = {"input_ids": input_ids, "attention_mask": np.ones_like(input_ids)}
            if self._takes_types:
                feed["token_type_ids"] = np.zeros_like(input_ids)
            return self._run(feed)

        logits = np.zeros((len(encoded), self._classes), dtype=np.float64)
        for positions, found in each_group(read, list(of_one_length(encoded, TOKENS_AT_ONCE)), self._threads):
            logits[positions] = found
        return softmax(logits)

    def _run(self, feed: dict[str, Any]) -> Any:
        with memory_errors("ONNX Runtime"):
            return self._session.run(None, feed)[0]
