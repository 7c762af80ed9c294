"""Write a bundle from two fitted views: weights, exported graph, parity check against torch, golden texts, manifest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tlnlp.model import bundle
from tlnlp.model.bundle_checks import check_contents, check_vocabulary
from tlnlp.model.classifier import Classifier
from tlnlp.model.combine import combine
from tlnlp.model.golden_texts import TEXTS, GoldenTexts
from tlnlp.model.ngram import NgramView
from tlnlp.model.onnx_engine import OnnxEngine
from tlnlp.model.tokenize import Encoder, Ids
from tlnlp.model.torch_encoder import check_parity, export_graph, load_encoder, save_weights

# Most texts that the exported graph is compared with torch on.
PARITY_TEXTS = 32


def write_bundle(
    folder: Path,
    spec: bundle.BundleSpec,
    weights: dict[str, Any],
    ngram: NgramView,
    training: dict[str, Any],
    encoded: Sequence[Ids],
) -> float:
    """Write all files of a bundle into a folder that already holds the tokenizer.

    Args:
        weights: tensors of the fitted encoder and head, by name.
        training: content of ``training.json``; the parity is added to it.
        encoded: token ids of texts; up to 32 of them, the shortest and the longest included, are read by the exported
            graph and by torch.

    Returns:
        The largest difference in probability between torch and the exported graph.

    Raises:
        BundleError: that difference is over the tolerance of ``check_parity``, or the files would be refused when the
            bundle is loaded.
    """
    model = load_encoder(spec.encoder, len(spec.classes), spec.pooling, 0.0, seed=0, normalise=spec.normalise)
    model.load_state_dict(weights)
    model.eval()
    save_weights(model, folder)
    names = export_graph(model, folder / bundle.GRAPH)
    assert names == spec.input_names
    engine = OnnxEngine(folder / bundle.GRAPH, spec.input_names)
    by_length = sorted(encoded, key=len)
    probes = by_length[:: max(1, len(by_length) // PARITY_TEXTS)][: PARITY_TEXTS - 1] + by_length[-1:]
    parity = check_parity(model, engine, probes, spec.pad_token_id)
    ngram.save(folder / bundle.NGRAM)
    (folder / bundle.SPEC).write_bytes(spec.to_json())
    (folder / bundle.TRAINING).write_bytes(bundle.dump_json(training | {"parity": parity}))
    encoder = Encoder.load(folder / bundle.TOKENIZER, spec.max_length, spec.head_share, spec.prompt, spec.lower_case)
    golden = golden_texts(Classifier(spec, "", encoder, engine, ngram))
    (folder / bundle.GOLDEN).write_bytes(bundle.dump_json(golden.to_json()))
    check_vocabulary(folder, check_contents(folder), encoder)
    bundle.seal(folder)
    return parity


def golden_texts(classifier: Classifier) -> GoldenTexts:
    """Return the golden texts of this package with the probabilities that a classifier gives them."""
    encoder, ngram = classifier.views(TEXTS)
    combined = combine(encoder, ngram, classifier.spec.encoder_weight, classifier.spec.ngram_weight)
    return GoldenTexts(classifier.classes, TEXTS, encoder, ngram, combined)
