"""Look up encoders by name in a catalogue (``conf/encoders.yaml``), and locate their files on this machine.

An encoder that no Python package contains is downloaded to the cache, a folder of the user. It is written beside its
place and moved there in one rename. It is complete when its marker file exists.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.resources
import importlib.util
import os
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from tlnlp.config.base import Settings, load_settings
from tlnlp.config.shared import DEFAULT_WORKSPACE
from tlnlp.config.shipped import shipped_file
from tlnlp.errors import InputDataError, UsageError
from tlnlp.storage import Storage
from tlnlp.storage.uri import local_path

MARKER = "tlnlp-encoder.json"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")


class HubSource(Settings):
    """Name a model on a hub and the ``revision`` (commit) to fetch; with None the user must give a revision."""

    name: str
    revision: str | None


class MavenSource(Settings):
    """Name a jar that holds an encoder, and the files to read from it.

    Fields:
        artefact: coordinates of the jar, as group:name:version.
        graph, tokenizer: paths of the two files inside the jar.
        graph_sha256, tokenizer_sha256: their sha256, in hex.
        heads: number of attention heads, which the graph does not hold.
    """

    artefact: str
    graph: str
    graph_sha256: str
    tokenizer: str
    tokenizer_sha256: str
    heads: int


class KnownEncoder(Settings):
    """Describe one encoder of the catalogue.

    Fields:
        package, hub, maven: where the encoder comes from; None where it does not.
        parameters: number of weights.
        max_length: longest input in tokens.
        prompts: texts that precede an input, by name; the first is the one for classification.
        tried: whether this project has run the encoder.
    """

    name: str
    package: str | None
    hub: HubSource | None
    maven: MavenSource | None
    licence: str
    parameters: int
    layers: int
    languages: str
    max_length: int
    pooling: Literal["mean", "cls"]
    prompts: dict[str, str]
    tried: bool

    @property
    def source(self) -> str:
        """Return where the encoder comes from, as shown to users."""
        if self.package is not None:
            return f"package {self.package}"
        if self.maven is not None:
            return f"maven {self.maven.artefact}"
        return f"hub {self.hub.name}" if self.hub is not None else "nowhere"


class Catalogue(Settings):
    """Hold the content of a catalogue file."""

    encoders: tuple[KnownEncoder, ...]


def catalogue_file() -> Path:
    """Return the path of tlnlp's own catalogue."""
    return shipped_file("encoders.yaml")


def known(file: str | Path | None = None, overrides: Sequence[str] = ()) -> dict[str, KnownEncoder]:
    """Read the encoders of a catalogue, by name.

    Args:
        file: path of the catalogue; None means tlnlp's own.
        overrides: ``key=value`` settings that replace those of the file.

    Raises:
        UsageError: the file cannot be read, has an unknown key, or has an invalid or repeated name.
    """
    path = Path(file) if file is not None else catalogue_file()
    found: dict[str, KnownEncoder] = {}
    for entry in load_settings(Catalogue, path, overrides).encoders:
        if not _NAME.fullmatch(entry.name) or entry.name in found:
            raise UsageError(
                f"{path}: the name {entry.name!r} is listed twice, or has characters other than a-z, 0-9, dot, dash "
                "and underscore; rename it"
            )
        found[entry.name] = entry
    return found


def cache() -> Path:
    """Return the folder of fetched encoders: ``TLNLP_ENCODERS``, else one below ``XDG_CACHE_HOME`` or ``~/.cache``.

    A user without a home folder has it in the default workspace.
    """
    if own := os.environ.get("TLNLP_ENCODERS"):
        return Path(own).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(base) if base else Path.home() / ".cache") / "tlnlp" / "encoders"
    except RuntimeError:  # Without HOME, a user id that the machine has no name for has no home folder.
        return Path(DEFAULT_WORKSPACE, "home", ".cache", "tlnlp", "encoders").absolute()


def at_hand(name: str, encoders: dict[str, KnownEncoder] | None = None) -> Path | None:
    """Return the folder of a named encoder, in its package or the cache; None if it is not on this machine."""
    name = name.lower()
    entry = (known() if encoders is None else encoders).get(name)
    if entry is not None and entry.package is not None and importlib.util.find_spec(entry.package) is not None:
        return Path(str(importlib.resources.files(entry.package) / "model"))
    folder = cache() / name
    return folder if _NAME.fullmatch(name) and (folder / MARKER).exists() else None


def resolve(encoder: str) -> str:
    """Return the folder of an encoder on this machine; or, for an unknown name, the name itself (a model on a hub).

    Args:
        encoder: a URI; a name of the catalogue; a folder; the name of a fetched encoder that only another catalogue
            lists; or the name of a model on a hub. They are tried in this order.

    Raises:
        InputDataError: the encoder is in the catalogue, but not on this machine.
        StorageError: the URI's store cannot be read.
    """
    if "://" in encoder:
        return str(_local_copy(encoder))
    entry = known().get(encoder.lower())
    if entry is None and Path(encoder).is_dir():
        return encoder
    folder = at_hand(encoder)
    if folder is not None:
        return str(folder)
    if entry is None:
        return encoder
    if entry.package is not None:
        raise InputDataError(
            f"encoder {entry.name} comes in the package {entry.package}, which is not installed: install tlnlp[train]"
        )
    raise InputDataError(
        f"encoder {entry.name} is not on this machine ({cache()}); run: tlnlp encoders fetch {entry.name}"
    )


def own_folder(encoder: str) -> Path | None:
    """Return the folder of a local or cached encoder, which other machines may lack; else None.

    An encoder of a package or of a store has no such folder: every machine can obtain it.
    """
    if "://" in encoder and local_path(encoder) is None:
        return None
    entry = known().get(encoder.lower())
    folder = Path(resolve(encoder))
    return folder if (entry is None or entry.package is None) and folder.is_dir() else None


def _local_copy(uri: str) -> Path:
    """Return the folder of an encoder that a URI names; copy it from a store once, in one rename."""
    path = local_path(uri)
    if path is not None:
        return path
    target = Path(tempfile.gettempdir()) / "tlnlp-encoders" / hashlib.sha256(uri.encode()).hexdigest()[:16]
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        storage = Storage(uri)
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            storage.download([entry.key for entry in storage.list()], Path(folder) / "encoder")
            with contextlib.suppress(OSError):  # Another process copied it first.
                (Path(folder) / "encoder").rename(target)
    return target
