"""Make a tiny encoder as an int8 graph in a jar, as e5-small-v2 is published, and a catalogue that lists it."""

from __future__ import annotations

import hashlib
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn
from transformers import BertModel, set_seed

GRAPH, TOKENIZER = "tiny-q.onnx", "tiny-q-tokenizer.json"


class _States(nn.Module):
    """Compute the token states of a BERT; the exporter does not support how transformers makes its masks."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.embeddings, self.encoder = model.embeddings, model.encoder

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        mask = (1.0 - attention_mask[:, None, None, :].float()) * -1e9
        embedded = self.embeddings(input_ids=input_ids, token_type_ids=token_type_ids)
        states: Tensor = self.encoder(embedded, attention_mask=mask).last_hidden_state
        return states


def quantised(encoder: Path, folder: Path) -> tuple[Path, Path]:
    """Return the paths of an int8 graph and of the encoder that it was made from.

    All weights are drawn anew, because the exporter stores equal biases as one tensor.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    set_seed(3)
    model: Any = BertModel.from_pretrained(encoder, add_pooling_layer=False, attn_implementation="eager")
    model.eval()
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1:
            nn.init.normal_(parameter, mean=float("LayerNorm.weight" in name), std=0.1)
        else:
            nn.init.normal_(parameter, std=0.3)  # Large enough that the number of attention heads changes the states.
    model.save_pretrained(folder / "before")
    names = ["input_ids", "attention_mask", "token_type_ids"]
    ids = torch.ones((2, 8), dtype=torch.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _States(model),
            (ids, ids, torch.zeros_like(ids)),
            str(folder / "fp32.onnx"),
            dynamo=False,  # Only this exporter puts layers into the names of nodes, as in published graphs.
            input_names=names,
            output_names=["last_hidden_state"],
            dynamic_axes={name: {0: "batch", 1: "tokens"} for name in [*names, "last_hidden_state"]},
            opset_version=14,
        )
    # With 7 bits no processor overflows: large weights would, where pairs of products are added in 16 bits.
    how: dict[str, Any] = {"per_channel": True, "reduce_range": True, "weight_type": QuantType.QInt8}
    quantize_dynamic(folder / "fp32.onnx", folder / GRAPH, **how)
    return folder / GRAPH, folder / "before"


def jar(graph: Path, tokenizer: Path, path: Path) -> Path:
    """Write a jar with a graph and a tokenizer; return its path."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(graph, GRAPH)
        archive.write(tokenizer, TOKENIZER)
    return path


def catalogue(graph: Path, tokenizer: Path, path: Path, **changes: Any) -> Path:
    """Write a catalogue with one encoder, ``tiny``; ``changes`` replace values of its entry."""
    maven = {
        "artefact": "org.example:tiny:1.0",
        "graph": GRAPH,
        "graph_sha256": hashlib.sha256(graph.read_bytes()).hexdigest(),
        "tokenizer": TOKENIZER,
        "tokenizer_sha256": hashlib.sha256(tokenizer.read_bytes()).hexdigest(),
        "heads": 2,
    }
    entry = {
        "name": "tiny",
        "package": None,
        "hub": None,
        "maven": maven,
        "licence": "MIT",
        "parameters": 30_000,
        "layers": 2,
        "languages": "none",
        "max_length": 128,
        "pooling": "mean",
        "prompts": {"query": "query: "},
        "tried": True,
    }
    path.write_text(yaml.safe_dump({"encoders": [entry | changes]}))
    return path
