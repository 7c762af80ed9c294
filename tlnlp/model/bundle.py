"""Define the model bundle: a folder with a closed list of files and a manifest.

The manifest holds the sha256 and the size in bytes of each file. It is written last. A bundle holds no pickle: weights
are safetensors or ONNX, everything else is JSON. A bundle with a missing, altered or unlisted file is refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tlnlp.data.text import model_text_sha256, text_sha256
from tlnlp.errors import BundleError

FORMAT = 1
MANIFEST = "manifest.json"
SPEC = "bundle.json"
TRAINING = "training.json"
GRAPH = "model.onnx"
GRAPH_WEIGHTS = "model.onnx.data"
TOKENIZER = "tokenizer.json"
NGRAM = "ngram.safetensors"
HEAD = "head.safetensors"
ENCODER = "model.safetensors"
REQUIRED = frozenset(
    {SPEC, TRAINING, GRAPH, GRAPH_WEIGHTS, TOKENIZER, NGRAM, HEAD, ENCODER, "config.json", "tokenizer_config.json"},
)
# The files that scoring reads. A Spark executor receives only these and the manifest.
SCORING = frozenset({SPEC, GRAPH, GRAPH_WEIGHTS, TOKENIZER, NGRAM})
MANIFEST_LIMIT_BYTES = 1 << 20
# Hex digits that are recorded of the digest of an unlabelled document: half of them.
UNLABELLED_DIGITS = 32


@dataclass(frozen=True)
class BundleSpec:
    """Hold what scoring needs beside the weights: the content of ``bundle.json``.

    Fields:
        classes: class names, in the order of the probabilities.
        encoder: name, folder or URI of the pretrained encoder.
        max_length: longest input of the encoder, in tokens.
        head_share: share of the tokens of a cut text that come from its beginning; the rest come from its end.
        max_chars: longest text, in characters; a longer text is cut (see ``tlnlp.data.text``).
        input_names: names of the inputs of the exported graph.
        encoder_weight, ngram_weight: factors of the log-probabilities of the two views (see ``tlnlp.model.combine``).
        ngram_features: width of the hashed n-gram space.
        pooling, prompt, normalise, lower_case: the encoder's conventions (see ``tlnlp.model.encoder_conventions``).
            Older bundles have only ``pooling``.
    """

    classes: tuple[str, ...]
    encoder: str
    pooling: str
    max_length: int
    head_share: float
    max_chars: int
    pad_token_id: int
    input_names: tuple[str, ...]
    encoder_weight: float
    ngram_weight: float
    ngram_features: int
    prompt: str = ""
    normalise: bool = False
    lower_case: bool = False
    format: int = FORMAT

    def to_json(self) -> bytes:
        """Return the content of ``bundle.json``."""
        return dump_json(asdict(self))

    @staticmethod
    def from_json(data: bytes) -> BundleSpec:
        """Read the content of ``bundle.json``.

        Raises:
            BundleError: the data is no bundle description, or one of another format.
        """
        try:
            values = json.loads(data)
            if values["format"] != FORMAT:
                raise BundleError(
                    f"bundle format {values['format']} is not {FORMAT}; use the tlnlp version that made it"
                )
            values["classes"] = tuple(values["classes"])
            values["input_names"] = tuple(values["input_names"])
            return BundleSpec(**values)
        except (ValueError, KeyError, TypeError) as error:
            raise BundleError(
                f"{SPEC} is not a bundle description ({type(error).__name__}); fetch the bundle from the registry again"
            ) from error


@dataclass(frozen=True)
class LearnedTexts:
    """Hold the digests of the texts that a model was trained on.

    Fields:
        labelled: digest of each labelled text, in hex.
        unlabelled: first half of the digest of each unlabelled document, in hex.
        max_chars: the digests are those of texts as this model reads them, with so many characters at most (see
            ``model_text_sha256``). None: they are those of raw texts, as earlier versions recorded them.
    """

    labelled: frozenset[str]
    unlabelled: frozenset[str]
    max_chars: int | None = None

    def labels_among(self, texts: Iterable[str]) -> int:
        """Count the texts that the model was trained on with a label."""
        return sum(self._digest(text) in self.labelled for text in texts)

    def documents_among(self, texts: Iterable[str]) -> int:
        """Count the texts that the model was trained on as unlabelled documents."""
        return sum(self._digest(text)[:UNLABELLED_DIGITS] in self.unlabelled for text in texts)

    def _digest(self, text: str) -> str:
        return text_sha256(text) if self.max_chars is None else model_text_sha256(text, self.max_chars)


def learned_digests(labels: Iterable[str], documents: Iterable[str], max_chars: int) -> dict[str, list[str]]:
    """Return what ``training.json`` records of the texts that a model was trained on; ``read_learned`` reads it.

    The digests of the raw labelled texts are for earlier versions of tlnlp, which compare texts by these.

    Args:
        labels: the labelled texts.
        documents: the unlabelled texts.
        max_chars: the most characters of a text that the model reads.
    """
    labels = list(labels)
    return {
        "text_sha256": sorted(text_sha256(text) for text in labels),
        "model_text_sha256": sorted(model_text_sha256(text, max_chars) for text in labels),
        "unlabelled_model_text_sha256": sorted(
            model_text_sha256(text, max_chars)[:UNLABELLED_DIGITS] for text in documents
        ),
    }


def dump_json(value: object) -> bytes:
    """Return a value as JSON in UTF-8, with sorted keys: equal values give equal bytes."""
    return (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def seal(folder: Path) -> str:
    """Write the manifest of a folder that holds all other files; return the bundle's digest.

    Raises:
        BundleError: a file is missing, or a file is not on the closed list.
    """
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {MANIFEST}
    _check_names(folder, names)
    files = {name: _fingerprint(folder / name) for name in sorted(names)}
    manifest = dump_json({"format": FORMAT, "files": files})
    (folder / MANIFEST).write_bytes(manifest)
    return hashlib.sha256(manifest).hexdigest()


def verify(folder: Path, scoring_only: bool = False) -> str:
    """Check every file of a bundle against its manifest; return the bundle's digest (the manifest's sha256).

    Args:
        scoring_only: the folder holds the manifest of the whole bundle, but only the files that scoring reads.

    Raises:
        BundleError: a file is missing, altered or not on the list; the message names the first such file.
    """
    data, files = _read_manifest(folder)
    _check_names(folder, set(files))
    expected = {name: files[name] for name in files if name in SCORING or not scoring_only}
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {MANIFEST}
    if extra := sorted(found - expected.keys()):
        raise BundleError(f"{folder}: {extra[0]} is not in the manifest; fetch the bundle from the registry again")
    for name, fingerprint in expected.items():
        if name not in found:
            raise BundleError(f"{folder}: {name} is missing; fetch the bundle from the registry again")
        if _fingerprint(folder / name) != fingerprint:
            raise BundleError(f"{folder}: {name} was altered (size or sha256); fetch it from the registry again")
    return hashlib.sha256(data).hexdigest()


def scoring_files(folder: Path) -> dict[str, bytes]:
    """Return the bytes of the manifest and of the files that scoring reads, by file name."""
    names = [MANIFEST, *sorted(SCORING)]
    return {name: (folder / name).read_bytes() for name in names}


def read_spec(folder: Path) -> BundleSpec:
    """Read ``bundle.json``.

    Raises:
        BundleError: the file cannot be read, or is no bundle description.
    """
    try:
        return BundleSpec.from_json((folder / SPEC).read_bytes())
    except OSError as error:
        raise BundleError(f"{folder}: {SPEC} cannot be read; fetch the bundle from the registry again") from error


def read_learned(folder: Path) -> LearnedTexts:
    """Read the digests of the texts that a model was trained on, from ``training.json``.

    Raises:
        BundleError: the file cannot be read, or lacks the digests.
    """
    try:
        found = json.loads((folder / TRAINING).read_bytes())
        if "model_text_sha256" not in found:
            return LearnedTexts(frozenset(found["text_sha256"]), frozenset(found.get("unlabelled_sha256", ())))
        labels, documents = frozenset(found["model_text_sha256"]), frozenset(found["unlabelled_model_text_sha256"])
        return LearnedTexts(labels, documents, read_spec(folder).max_chars)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise BundleError(f"{folder}: {TRAINING} cannot be read; fetch the bundle from the registry again") from error


def _read_manifest(folder: Path) -> tuple[bytes, dict[str, Mapping[str, Any]]]:
    path = folder / MANIFEST
    try:
        if path.stat().st_size > MANIFEST_LIMIT_BYTES:
            raise BundleError(
                f"{path}: over {MANIFEST_LIMIT_BYTES} bytes, too large for a manifest; "
                "fetch the bundle from the registry again"
            )
        data = path.read_bytes()
        manifest = json.loads(data)
        if manifest["format"] != FORMAT:
            raise BundleError(f"{path}: format {manifest['format']}, not {FORMAT}; use the tlnlp version that made it")
        return data, dict(manifest["files"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(
            f"{path}: no readable manifest ({type(error).__name__}); the bundle is incomplete, "
            "fetch it from the registry again"
        ) from error


def _check_names(folder: Path, names: set[str]) -> None:
    if missing := sorted(REQUIRED - names):
        raise BundleError(f"{folder}: {missing[0]} is missing from the bundle")
    if extra := sorted(names - REQUIRED):
        raise BundleError(f"{folder}: {extra[0]} does not belong in a bundle")


def _fingerprint(path: Path) -> dict[str, Any]:
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return {"sha256": digest, "size_bytes": path.stat().st_size}
