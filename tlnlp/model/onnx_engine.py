"""Run the encoder view in ONNX Runtime, without torch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tlnlp.errors import BundleError
from tlnlp.model.combine import Floats, softmax
from tlnlp.model.tokenize import Ids, by_length, pad


def load_onnxruntime() -> Any:
    """Import ONNX Runtime without its telemetry, and return the module; no other place imports it.

    On Linux its import writes a device id and a database of events into the home folder, and looks up the host that it
    sends them to, unless this variable is set before. Whoever sets the variable to another value keeps it.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    return onnxruntime


class OnnxEngine:
    """Compute class probabilities from token ids with an exported graph.

    Args:
        graph: path of the ONNX graph.
        pad_token_id: id that pads the shorter texts of a batch.
        input_names: names of the graph's inputs.
        threads: threads of ONNX Runtime; 0 means one for each core.

    Raises:
        BundleError: ONNX Runtime cannot open the graph.
    """

    def __init__(self, graph: Path, pad_token_id: int, input_names: Sequence[str], threads: int = 0) -> None:
        ort = load_onnxruntime()
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Spinning threads would take the cores of other Spark tasks on the same host.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # Without prepacking the weights stay in the mapped file, which the processes of a host share.
        options.add_session_config_entry("session.disable_prepacking", "1")
        try:
            self._session = ort.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
            self._classes = int(self._session.get_outputs()[0].shape[-1])
        except Exception as error:  # The library's exceptions have no common public base class.
            raise BundleError(
                f"{graph}: ONNX Runtime cannot open the graph ({type(error).__name__}); fetch the bundle again"
            ) from error
        self._pad_token_id = pad_token_id
        self._input_names = tuple(input_names)

    def predict(self, encoded: Sequence[Ids], batch_size: int = 32) -> Floats:
        """Return probabilities (texts, classes) of token ids, in the order given."""
        logits = np.zeros((len(encoded), self._classes), dtype=np.float64)
        for positions in by_length(encoded, batch_size):
            input_ids, attention_mask = pad([encoded[position] for position in positions], self._pad_token_id)
            feed = {"input_ids": input_ids, "attention_mask": attention_mask}
            if "token_type_ids" in self._input_names:
                feed["token_type_ids"] = np.zeros_like(input_ids)
            logits[positions] = self._session.run(None, feed)[0]
        return softmax(logits)
