"""Export the encoder view from torch to an ONNX graph, and check that the graph gives what torch gives."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor

from tlnlp.errors import BundleError
from tlnlp.model import bundle
from tlnlp.model.combine import Floats, softmax
from tlnlp.model.engines.engine import Engine
from tlnlp.model.tokenize import Ids, pad
from tlnlp.model.torch_encoder import TextClassifier

# Largest allowed difference in probability between torch and the exported graph.
PARITY_TOLERANCE = 1e-4
INPUT_NAMES = ("input_ids", "attention_mask")
OPSET = 18


def export_graph(model: TextClassifier, path: Path) -> tuple[str, ...]:
    """Write the encoder view, with pooling and head, as an ONNX graph; return its input names.

    The weights go to a file of their own beside the graph. The processes of a host can then map it and share memory.
    """
    model = model.cpu().eval()
    model.by_rows = True
    example = (torch.ones((2, 8), dtype=torch.int64), torch.ones((2, 8), dtype=torch.int64))
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            _export_traced(model, example, path)
        except Exception:  # Failures of the tracer have no common class.
            _export_captured(model, example, path)
        finally:
            model.by_rows = False
    return INPUT_NAMES


def _export_traced(model: TextClassifier, example: tuple[Tensor, Tensor], path: Path) -> None:
    """Export with TorchScript's tracer: 2 s for twelve layers, against 13 s for torch.export."""
    axes = {0: "batch", 1: "tokens"}
    torch.onnx.export(
        model,
        example,
        path,
        input_names=list(INPUT_NAMES),
        output_names=["logits"],
        dynamic_axes=dict.fromkeys(INPUT_NAMES, axes) | {"logits": {0: "batch"}},
        opset_version=OPSET,
        dynamo=False,
    )
    onnx.save_model(
        onnx.load_model(path), path, save_as_external_data=True, location=bundle.GRAPH_WEIGHTS, size_threshold=1024
    )


def _export_captured(model: TextClassifier, example: tuple[Tensor, Tensor], path: Path) -> None:
    """Export with torch.export, which supports more models than the tracer."""
    shape = {0: torch.export.Dim("batch"), 1: torch.export.Dim("tokens")}
    program = torch.onnx.export(
        model,
        example,
        input_names=list(INPUT_NAMES),
        output_names=["logits"],
        dynamic_shapes=dict.fromkeys(INPUT_NAMES, shape),
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    program.save(str(path), external_data=True)


def reference_probabilities(model: TextClassifier, encoded: Sequence[Ids], pad_token_id: int) -> Floats:
    """Return probabilities (texts, classes) by torch; each text is read alone, without padding."""
    rows = []
    with torch.inference_mode():
        for ids in encoded:
            input_ids, attention_mask = pad([ids], pad_token_id)
            rows.append(model(torch.from_numpy(input_ids), torch.from_numpy(attention_mask))[0].double().numpy())
    return softmax(np.stack(rows))


def check_parity(model: TextClassifier, engine: Engine, encoded: Sequence[Ids], pad_id: int) -> float:
    """Return the largest difference in probability between torch and the exported graph on ``encoded`` texts.

    Raises:
        BundleError: the difference is over 1e-4.
    """
    difference = float(np.abs(reference_probabilities(model, encoded, pad_id) - engine.predict(encoded)).max())
    if not difference <= PARITY_TOLERANCE:
        raise BundleError(
            f"the exported graph differs from torch by {difference:.1e} in probability (at most {PARITY_TOLERANCE});"
            " the bundle was not made; try another encoder or version of onnxruntime"
        )
    return difference
