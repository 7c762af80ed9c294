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
from pathlib import Path
from typing import Any

from tlnlp.errors import BundleError
from tlnlp.model.bounded_json import AGAIN, check_size, parse_object, shown
from tlnlp.model.profile import CTRANSLATE2_INT8, INT8_ENGINES, ONNX_FP32

FORMAT = 1
# What to do where a copy of a bundle is damaged.
FETCH_AGAIN = "fetch the bundle from the registry again"
MANIFEST = "manifest.json"
SPEC = "bundle.json"
TRAINING = "training.json"
GRAPH = "model.onnx"
GRAPH_WEIGHTS = "model.onnx.data"
TOKENIZER = "tokenizer.json"
NGRAM = "ngram.safetensors"
HEAD = "head.safetensors"
ENCODER = "model.safetensors"
INT8 = "encoder_int8.safetensors"
STUDENT = "student.safetensors"
CONFIG = "config.json"
GOLDEN = "golden_texts.json"
REQUIRED = frozenset(
    {SPEC, TRAINING, GRAPH, GRAPH_WEIGHTS, TOKENIZER, NGRAM, HEAD, ENCODER, CONFIG, "tokenizer_config.json"},
)
# Bundles that were made before there were golden texts lack them; encoders of some kinds have no int8 weights; and not
# every bundle has a student.
OPTIONAL = frozenset({GOLDEN, INT8, STUDENT})
ALLOWED = REQUIRED | OPTIONAL
# The engines that can run the encoder view, each with the files that it reads (see ``tlnlp.model.engines``).
ENGINES = {ONNX_FP32: frozenset({GRAPH, GRAPH_WEIGHTS})} | dict.fromkeys(INT8_ENGINES, frozenset({INT8, HEAD, CONFIG}))
# The files that scoring reads with any engine.
_SCORING = frozenset({SPEC, TOKENIZER, NGRAM, GOLDEN})
MANIFEST_LIMIT_BYTES = 1 << 20


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


def scoring_names(engine: str) -> frozenset[str]:
    """Return the names of the files that scoring with an engine reads; a bundle may lack those of ``OPTIONAL``."""
    student = {STUDENT} if engine == CTRANSLATE2_INT8 else set()
    return _SCORING | ENGINES[engine] | student


def has_files(folder: Path, engine: str) -> bool:
    """Return whether a bundle has the files that an engine reads; those of some encoders lack int8 weights."""
    return all((folder / name).exists() for name in ENGINES[engine])


def verify(folder: Path, only: str | None = None) -> str:
    """Check every file of a bundle against its manifest; return the bundle's digest (the manifest's sha256).

    Args:
        only: name of an engine: the folder holds the manifest of the whole bundle, but only the files that scoring
            with this engine reads. None: it holds all files.

    Raises:
        BundleError: a file is missing, altered, not on the list or not a regular file; the message names the first such
            file.
    """
    data, files = _read_manifest(folder)
    expected = {name: files[name] for name in files if only is None or name in scoring_names(only)}
    found = regular_files(folder) - {MANIFEST}
    if extra := sorted(found - expected.keys()):
        raise BundleError(f"{folder}: {extra[0]} is not in the manifest; {FETCH_AGAIN}")
    for name, fingerprint in expected.items():
        if name not in found:
            raise BundleError(f"{folder}: {name} is missing; {FETCH_AGAIN}")
        size_bytes = (folder / name).stat().st_size
        if size_bytes != fingerprint["size_bytes"] or _fingerprint(folder / name) != fingerprint:
            raise BundleError(f"{folder}: {name} was altered (size or sha256); {FETCH_AGAIN}")
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


def scoring_files(folder: Path, engine: str) -> dict[str, bytes]:
    """Return the bytes of the manifest and of the files that scoring with an engine reads, by file name."""
    names = [MANIFEST, *sorted(scoring_names(engine))]
    return {name: (folder / name).read_bytes() for name in names if name not in OPTIONAL or (folder / name).exists()}


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
