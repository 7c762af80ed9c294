"""From fitted views to a sealed bundle: weights, graph, parity with torch, manifest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tlnlp.model import bundle
from tlnlp.model.ngram import NgramView
from tlnlp.model.onnx_engine import OnnxEngine
from tlnlp.model.tokenize import Ids
from tlnlp.model.torch_encoder import check_parity, export_graph, load_encoder, save_weights

PARITY_TEXTS = 32


def write_bundle(
    folder: Path,
    spec: bundle.BundleSpec,
    weights: dict[str, Any],
    ngram: NgramView,
    training: dict[str, Any],
    encoded: Sequence[Ids],
) -> float:
    """Finish a folder that holds the tokenizer; returns the largest difference between torch and the graph.

    ``weights`` are the fitted model's tensors by name; parity is measured on up to 32 of the ``encoded`` texts, the
    longest and the shortest among them.

    Raises:
        BundleError: the exported graph strays from torch.
    """
    model = load_encoder(spec.encoder, len(spec.classes), spec.pooling, 0.0, seed=0, normalise=spec.normalise)
    model.load_state_dict(weights)
    model.eval()
    save_weights(model, folder)
    names = export_graph(model, folder / bundle.GRAPH)
    assert names == spec.input_names
    engine = OnnxEngine(folder / bundle.GRAPH, spec.pad_token_id, spec.input_names)
    by_length = sorted(encoded, key=len)
    probes = by_length[:: max(1, len(by_length) // PARITY_TEXTS)][: PARITY_TEXTS - 1] + by_length[-1:]
    parity = check_parity(model, engine, probes, spec.pad_token_id)
    ngram.save(folder / bundle.NGRAM)
    (folder / bundle.SPEC).write_bytes(spec.to_json())
    (folder / bundle.TRAINING).write_bytes(bundle.dump_json(training | {"parity": parity}))
    bundle.seal(folder)
    return parity
