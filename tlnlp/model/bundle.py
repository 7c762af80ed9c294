"""The bundle: a folder with a closed list of files, each with sha256 and size in a manifest that is written last.

No pickle anywhere: weights are safetensors or ONNX, everything else is JSON. A file that is missing, altered or not
on the list makes the whole bundle unusable.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

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
# What scoring reads. An executor gets these and the manifest, nothing else.
SCORING = frozenset({SPEC, GRAPH, GRAPH_WEIGHTS, TOKENIZER, NGRAM})
MANIFEST_LIMIT_BYTES = 1 << 20


@dataclass(frozen=True)
class BundleSpec:
    """What scoring must know beside the weights; ``bundle.json``.

    ``encoder_weight`` and ``ngram_weight`` multiply the log-probabilities of the two views before the final softmax
    (see ``tlnlp.model.combine``); ``ngram_features`` is the width of the hashed n-gram space. ``pooling``, ``prompt``,
    ``normalise`` and ``lower_case`` are the encoder's conventions (see ``tlnlp.model.encoder_conventions``);
    older bundles have only the first.
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
        return dump_json(asdict(self))

    @staticmethod
    def from_json(data: bytes) -> BundleSpec:
        """Raises BundleError: not a spec of this format."""
        try:
            values = json.loads(data)
            if values["format"] != FORMAT:
                raise BundleError(f"bundle format {values['format']} is not {FORMAT}; use the tlnlp that made it")
            values["classes"] = tuple(values["classes"])
            values["input_names"] = tuple(values["input_names"])
            return BundleSpec(**values)
        except (ValueError, KeyError, TypeError) as error:
            raise BundleError(f"{SPEC} is not a bundle's description ({type(error).__name__})") from error


@dataclass(frozen=True)
class LearnedTexts:
    """What a model has learned from, by sha256: ``labelled`` texts; ``unlabelled`` documents, by half of the digest."""

    labelled: frozenset[str]
    unlabelled: frozenset[str]

    def labels_among(self, digests: Iterable[str]) -> int:
        return sum(digest in self.labelled for digest in digests)

    def documents_among(self, digests: Iterable[str]) -> int:
        return sum(digest[: len(digest) // 2] in self.unlabelled for digest in digests)


def dump_json(value: object) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def seal(folder: Path) -> str:
    """Write the manifest of a finished folder, last; returns the bundle's digest.

    Raises:
        BundleError: a file is missing, or one is not on the closed list.
    """
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {MANIFEST}
    _check_names(folder, names)
    files = {name: _fingerprint(folder / name) for name in sorted(names)}
    manifest = dump_json({"format": FORMAT, "files": files})
    (folder / MANIFEST).write_bytes(manifest)
    return hashlib.sha256(manifest).hexdigest()


def verify(folder: Path, scoring_only: bool = False) -> str:
    """Check every file of a bundle against its manifest; returns the bundle's digest (the manifest's sha256).

    With ``scoring_only`` the folder holds the files that scoring reads, and the manifest of the whole.

    Raises:
        BundleError: names the first file that is missing, altered or not on the list.
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
    """The files that scoring reads, and the manifest, by name."""
    names = [MANIFEST, *sorted(SCORING)]
    return {name: (folder / name).read_bytes() for name in names}


def read_spec(folder: Path) -> BundleSpec:
    """Raises BundleError."""
    try:
        return BundleSpec.from_json((folder / SPEC).read_bytes())
    except OSError as error:
        raise BundleError(f"{folder}: {SPEC} cannot be read") from error


def read_learned(folder: Path) -> LearnedTexts:
    """Raises BundleError."""
    try:
        found = json.loads((folder / TRAINING).read_bytes())
        return LearnedTexts(frozenset(found["text_sha256"]), frozenset(found.get("unlabelled_sha256", ())))
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise BundleError(f"{folder}: {TRAINING} cannot be read") from error


def _read_manifest(folder: Path) -> tuple[bytes, dict[str, Mapping[str, Any]]]:
    path = folder / MANIFEST
    try:
        if path.stat().st_size > MANIFEST_LIMIT_BYTES:
            raise BundleError(f"{path}: too large to be a manifest")
        data = path.read_bytes()
        manifest = json.loads(data)
        if manifest["format"] != FORMAT:
            raise BundleError(f"{path}: format {manifest['format']}, not {FORMAT}; use the tlnlp that made it")
        return data, dict(manifest["files"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{path}: no readable manifest ({type(error).__name__}); the bundle is incomplete") from error


def _check_names(folder: Path, names: set[str]) -> None:
    if missing := sorted(REQUIRED - names):
        raise BundleError(f"{folder}: {missing[0]} is missing from the bundle")
    if extra := sorted(names - REQUIRED):
        raise BundleError(f"{folder}: {extra[0]} does not belong in a bundle")


def _fingerprint(path: Path) -> dict[str, Any]:
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return {"sha256": digest, "size_bytes": path.stat().st_size}
