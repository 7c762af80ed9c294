"""Check that the files of a bundle mean a sound model: values in their domains, shapes that agree, finite weights.

Whoever can write a registry can write a manifest, so digests that match prove nothing about the model. These checks
run no part of the model, and read each weight once.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tlnlp.errors import BundleError
from tlnlp.model import bundle
from tlnlp.model.bounded_json import AGAIN, LARGE_LIMIT_BYTES, LIMIT_BYTES, check_size, parse_object
from tlnlp.model.golden_texts import GoldenTexts, read_golden
from tlnlp.model.learned_texts import read_learned
from tlnlp.model.onnx_file import check_graph
from tlnlp.model.tensor_file import check_tensors, map_tensors
from tlnlp.model.tokenize import Encoder

JSON_FILES = ("config.json", "tokenizer_config.json")


@dataclass(frozen=True)
class Contents:
    """Hold what the checks found.

    Fields:
        spec: the bundle's description.
        embedding_rows: number of token ids that the graph's embedding has; None if that is not to be seen.
        golden: the bundle's golden texts; None if it was made before there were any.
    """

    spec: bundle.BundleSpec
    embedding_rows: int | None
    golden: GoldenTexts | None


def check_contents(folder: Path, scoring_only: bool = False) -> Contents:
    """Check what the files of a bundle hold.

    Args:
        scoring_only: the folder holds only the files that scoring reads.

    Raises:
        BundleError: a file holds what no sound model has; the message names the file and the value.
    """
    spec = bundle.read_spec(folder)
    classes = len(spec.classes)
    check_size((folder / bundle.TOKENIZER).stat().st_size, str(folder / bundle.TOKENIZER), LARGE_LIMIT_BYTES)
    shapes = {"weights": (spec.ngram_features, classes), "bias": (classes,)}
    check_tensors(folder / bundle.NGRAM, map_tensors(folder / bundle.NGRAM), shapes)
    rows = check_graph(folder / bundle.GRAPH, folder / bundle.GRAPH_WEIGHTS, classes, spec.input_names)
    if rows is not None and spec.pad_token_id >= rows:
        raise BundleError(
            f"{folder / bundle.SPEC}: pad_token_id is {spec.pad_token_id}, and the embedding in {bundle.GRAPH} has "
            f"only {rows} token ids; {AGAIN}"
        )
    if not scoring_only:
        _check_encoder(folder, spec)
        read_learned(folder)
    return Contents(spec, rows, _golden(folder, spec))


def check_vocabulary(folder: Path, contents: Contents, encoder: Encoder) -> None:
    """Check that every token id of the tokenizer is within the embedding. Raises BundleError."""
    largest = encoder.largest_id
    if contents.embedding_rows is not None and largest >= contents.embedding_rows:
        raise BundleError(
            f"{folder / bundle.TOKENIZER}: it has the token id {largest}, and the embedding in {bundle.GRAPH} has only "
            f"{contents.embedding_rows} token ids; {AGAIN}"
        )


def _golden(folder: Path, spec: bundle.BundleSpec) -> GoldenTexts | None:
    path = folder / bundle.GOLDEN
    if not path.exists():
        return None
    check_size(path.stat().st_size, str(path), LIMIT_BYTES)
    weights = (spec.encoder_weight, spec.ngram_weight)
    return read_golden(path.read_bytes(), str(path), spec.classes, weights)


def _check_encoder(folder: Path, spec: bundle.BundleSpec) -> None:
    """Check the encoder and its head as other programs read them; scoring reads the graph."""
    check_tensors(folder / bundle.ENCODER, map_tensors(folder / bundle.ENCODER), {})
    head = map_tensors(folder / bundle.HEAD)
    hidden = head["weight"].shape[-1] if "weight" in head and head["weight"].ndim else 0
    check_tensors(folder / bundle.HEAD, head, {"weight": (len(spec.classes), hidden), "bias": (len(spec.classes),)})
    for name in JSON_FILES:
        check_size((folder / name).stat().st_size, str(folder / name), LIMIT_BYTES)
        values = parse_object((folder / name).read_bytes(), str(folder / name))
        positions = values.get("max_position_embeddings")
        if name == "config.json" and isinstance(positions, int) and spec.max_length > positions:
            raise BundleError(
                f"{folder / bundle.SPEC}: max_length is {spec.max_length}, and the encoder reads at most {positions} "
                f"tokens by {name}; {AGAIN}"
            )
