"""Define the model bundle: a folder with a closed list of files and a manifest.

The manifest holds the sha256 and the size in bytes of each file. It is written last. A bundle holds no pickle: weights
are safetensors or ONNX, everything else is JSON. A bundle with a missing, altered or unlisted file is refused, and so
is one with anything else than regular files. ``tlnlp.model.bundle_checks`` checks what the files mean.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from tlnlp.errors import BundleError
from tlnlp.model.bounded_json import AGAIN, LIMIT_BYTES, check_size, parse_object, shown
from tlnlp.model.bundle_values import check_values

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
GOLDEN = "golden_texts.json"
REQUIRED = frozenset(
    {SPEC, TRAINING, GRAPH, GRAPH_WEIGHTS, TOKENIZER, NGRAM, HEAD, ENCODER, "config.json", "tokenizer_config.json"},
)
# Bundles that were made before there were golden texts lack them.
ALLOWED = REQUIRED | {GOLDEN}
# The files that scoring reads. A Spark executor receives only these and the manifest.
SCORING = frozenset({SPEC, GRAPH, GRAPH_WEIGHTS, TOKENIZER, NGRAM, GOLDEN})
MANIFEST_LIMIT_BYTES = 1 << 20


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
    def from_json(data: bytes, where: str = SPEC) -> BundleSpec:
        """Read the content of ``bundle.json``.

        Args:
            where: the file, for messages.

        Raises:
            BundleError: the data is no bundle description, or one of another format, or a value is outside of its
                domain (see ``tlnlp.model.bundle_values``).
        """
        values = parse_object(data, where)
        if (found := values.get("format")) != FORMAT:
            raise BundleError(
                f"{where}: bundle format {shown(found)} is not {FORMAT}; use the tlnlp version that made it"
            )
        if unknown := sorted(values.keys() - {one.name for one in fields(BundleSpec)}):
            raise BundleError(f"{where}: not a bundle description, it has the key {shown(unknown[0])}; {AGAIN}")
        check_values(values, where)
        try:
            sequences = {"classes": tuple(values["classes"]), "input_names": tuple(values["input_names"])}
            return BundleSpec(**values | sequences)
        except (KeyError, TypeError) as error:
            raise BundleError(f"{where}: not a bundle description, a key is missing ({error}); {AGAIN}") from error


def dump_json(value: object) -> bytes:
    """Return a value as JSON in UTF-8, with sorted keys: equal values give equal bytes."""
    return (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def seal(folder: Path) -> str:
    """Write the manifest of a folder that holds all other files; return the bundle's digest.

    Raises:
        BundleError: a file is missing, or a file is not on the closed list.
    """
    names = regular_files(folder) - {MANIFEST}
    _check_names(str(folder), names)
    files = {name: _fingerprint(folder / name) for name in sorted(names)}
    manifest = dump_json({"format": FORMAT, "files": files})
    (folder / MANIFEST).write_bytes(manifest)
    return hashlib.sha256(manifest).hexdigest()


def digest_of(folder: Path) -> str:
    """Return the digest of a verified bundle: the sha256 of its manifest."""
    return hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()


def verify(folder: Path, scoring_only: bool = False) -> str:
    """Check every file of a bundle against its manifest; return the bundle's digest (the manifest's sha256).

    Args:
        scoring_only: the folder holds the manifest of the whole bundle, but only the files that scoring reads.

    Raises:
        BundleError: a file is missing, altered, not on the list or not a regular file; the message names the first such
            file.
    """
    data, files = _read_manifest(folder)
    expected = {name: files[name] for name in files if name in SCORING or not scoring_only}
    found = regular_files(folder) - {MANIFEST}
    if extra := sorted(found - expected.keys()):
        raise BundleError(f"{folder}: {extra[0]} is not in the manifest; fetch the bundle from the registry again")
    for name, fingerprint in expected.items():
        if name not in found:
            raise BundleError(f"{folder}: {name} is missing; fetch the bundle from the registry again")
        size_bytes = (folder / name).stat().st_size
        if size_bytes != fingerprint["size_bytes"] or _fingerprint(folder / name) != fingerprint:
            raise BundleError(f"{folder}: {name} was altered (size or sha256); fetch it from the registry again")
    return hashlib.sha256(data).hexdigest()


def regular_files(folder: Path) -> set[str]:
    """Return the names of all files in a folder and in its folders, relative to it.

    Raises:
        BundleError: something in the folder is neither a regular file nor a folder: a link would lead out of it, and
            reading a device or a pipe need not end.
    """
    found = set[str]()
    for place, folders, names in os.walk(folder):
        for name in (*folders, *names):
            path = Path(place, name)
            mode = path.lstat().st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                kind = "a symbolic link" if stat.S_ISLNK(mode) else "a device, pipe or socket"
                shown_name = path.relative_to(folder).as_posix()
                raise BundleError(f"{folder}: {shown_name} is {kind}; a bundle holds only regular files; {AGAIN}")
            if stat.S_ISREG(mode):
                found.add(path.relative_to(folder).as_posix())
    return found


def parse_manifest(data: bytes, where: str) -> dict[str, Mapping[str, Any]]:
    """Read a manifest: for each file its sha256 and its size in bytes.

    Args:
        where: the manifest, for messages.

    Raises:
        BundleError: the data is no manifest or one of another format; or it lacks a file that a bundle must have, or
            lists one that does not belong in a bundle.
    """
    try:
        manifest = parse_object(data, where, MANIFEST_LIMIT_BYTES)
        if manifest["format"] != FORMAT:
            raise BundleError(
                f"{where}: format {shown(manifest['format'])}, not {FORMAT}; use the tlnlp version that made it"
            )
        files = dict(manifest["files"])
    except (ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{where}: not a bundle manifest ({type(error).__name__}); {AGAIN}") from error
    _check_names(where, set(files))
    for name, entry in files.items():
        sound = isinstance(entry, dict) and entry.keys() == {"sha256", "size_bytes"}
        if not (sound and isinstance(entry["size_bytes"], int) and re.fullmatch("[0-9a-f]{64}", str(entry["sha256"]))):
            raise BundleError(f"{where}: {name} has no sha256 and size_bytes; {AGAIN}")
    return files


def scoring_files(folder: Path) -> dict[str, bytes]:
    """Return the bytes of the manifest and of the files that scoring reads, by file name."""
    names = [MANIFEST, *sorted(SCORING)]
    return {name: (folder / name).read_bytes() for name in names if name != GOLDEN or (folder / name).exists()}


def read_spec(folder: Path) -> BundleSpec:
    """Read ``bundle.json``.

    Raises:
        BundleError: the file cannot be read, or is no bundle description, or a value is outside of its domain.
    """
    try:
        check_size((folder / SPEC).stat().st_size, str(folder / SPEC), LIMIT_BYTES)
        return BundleSpec.from_json((folder / SPEC).read_bytes(), str(folder / SPEC))
    except OSError as error:
        raise BundleError(f"{folder}: {SPEC} cannot be read; fetch the bundle from the registry again") from error


def _read_manifest(folder: Path) -> tuple[bytes, dict[str, Mapping[str, Any]]]:
    path = folder / MANIFEST
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            raise BundleError(f"{path}: not a regular file; {AGAIN}")
        check_size(path.stat().st_size, str(path), MANIFEST_LIMIT_BYTES)
        data = path.read_bytes()
    except OSError as error:
        raise BundleError(
            f"{path}: no readable manifest ({type(error).__name__}); the bundle is incomplete, "
            "fetch it from the registry again"
        ) from error
    return data, parse_manifest(data, str(path))


def _check_names(where: str, names: set[str]) -> None:
    if missing := sorted(REQUIRED - names):
        raise BundleError(f"{where}: {missing[0]} is missing from the bundle")
    if extra := sorted(map(str, names - ALLOWED)):
        raise BundleError(f"{where}: {shown(extra[0])} does not belong in a bundle; {AGAIN}")


def _fingerprint(path: Path) -> dict[str, Any]:
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return {"sha256": digest, "size_bytes": path.stat().st_size}
