"""Write a bundle from two fitted views: first what the engines read, then the rest, golden texts and manifest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors.numpy import save_file

from tlnlp.model import bundle
from tlnlp.model.bundle_checks import check_contents, check_vocabulary
from tlnlp.model.bundle_spec import BundleSpec
from tlnlp.model.cascade import STUDENT
from tlnlp.model.classifier import Classifier
from tlnlp.model.engines.engine import Engine, open_engine
from tlnlp.model.engines.int8_weights import quantise
from tlnlp.model.engines.network_file import read_network
from tlnlp.model.engines.onnx_fp32 import OnnxFp32Engine
from tlnlp.model.golden_texts import TEXTS, GoldenTexts
from tlnlp.model.ngram import NgramView
from tlnlp.model.onnx_export import check_parity, export_graph
from tlnlp.model.profile import ENGINE_NAMES, ONNX_FP32
from tlnlp.model.student import open_student
from tlnlp.model.tensor_file import map_tensors
from tlnlp.model.tokenize import Encoder, Ids
from tlnlp.model.torch_encoder import load_encoder, save_weights

# Most texts that the exported graph is compared with torch on.
PARITY_TEXTS = 32


def export_encoder(folder: Path, spec: BundleSpec, weights: dict[str, Any], encoded: Sequence[Ids]) -> float:
    """Write what the engines read into a folder that already holds the tokenizer: weights, graph, int8 weights.

    Int8 weights are written for the kinds of networks that an int8 engine can run.

    Args:
        weights: tensors of the fitted encoder and head, by name.
        encoded: token ids of texts; up to 32 of them, the shortest and the longest included, are read by the exported
            graph and by torch.

    Returns:
        The largest difference in probability between torch and the exported graph.

    Raises:
        BundleError: that difference is over the tolerance of ``check_parity``.
    """
    model = load_encoder(spec.encoder, len(spec.classes), spec.pooling, 0.0, seed=0, normalise=spec.normalise)
    model.load_state_dict(weights)
    model.eval()
    save_weights(model, folder)
    names = export_graph(model, folder / bundle.GRAPH)
    assert names == spec.input_names
    network = read_network(folder)
    if network is not None:
        save_file(quantise(map_tensors(folder / bundle.ENCODER), network), folder / bundle.INT8)
    by_length = sorted(encoded, key=len)
    probes = by_length[:: max(1, len(by_length) // PARITY_TEXTS)][: PARITY_TEXTS - 1] + by_length[-1:]
    return check_parity(model, OnnxFp32Engine(folder / bundle.GRAPH, spec.input_names), probes, spec.pad_token_id)


def engines_of(folder: Path, spec: BundleSpec) -> dict[str, Engine]:
    """Return the engines that a version with this encoder can be made for, by name, the reference first."""
    return {name: open_engine(folder, spec, name) for name in ENGINE_NAMES if bundle.has_files(folder, name)}


def finish_bundle(folder: Path, spec: BundleSpec, ngram: NgramView, training: dict[str, Any]) -> None:
    """Write the rest of a bundle beside an exported encoder, check all of it, and seal it.

    Args:
        training: content of ``training.json``.

    Raises:
        BundleError: the files would be refused when the bundle is loaded.
    """
    ngram.save(folder / bundle.NGRAM)
    (folder / bundle.SPEC).write_bytes(spec.to_json())
    (folder / bundle.TRAINING).write_bytes(bundle.dump_json(training))
    encoder = Encoder.load(folder / bundle.TOKENIZER, spec.max_length, spec.head_share, spec.prompt, spec.lower_case)
    golden = golden_texts(folder, spec, encoder, ngram)
    (folder / bundle.GOLDEN).write_bytes(bundle.dump_json(golden.to_json()))
    check_vocabulary(folder, check_contents(folder), encoder)
    bundle.seal(folder)


def golden_texts(folder: Path, spec: BundleSpec, encoder: Encoder, ngram: NgramView) -> GoldenTexts:
    """Return the golden texts of this package with the probabilities that each engine and the n-gram view give them."""
    views = {
        name: Classifier(spec, "", encoder, engine, name, ngram).views(TEXTS)
        for name, engine in engines_of(folder, spec).items()
    }
    reference, own = views.pop(ONNX_FP32)
    combined = spec.combined(reference, own)
    engines = {name: probabilities for name, (probabilities, _) in views.items()}
    if spec.student is not None:
        engines[STUDENT] = open_student(folder, spec, encoder).predict(encoder.encode(TEXTS))
    return GoldenTexts(spec.classes, TEXTS, reference, own, combined, engines)
