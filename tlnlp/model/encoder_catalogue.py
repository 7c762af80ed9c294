"""The encoders known by name (``conf/encoders.yaml``), which of them are at hand, and where an encoder's files are.

Encoders that no package carries live in one folder of the user's, the cache: a folder each, laid in one rename and
complete when its marker stands.
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
from tlnlp.errors import InputDataError, UsageError
from tlnlp.storage import Storage
from tlnlp.storage.uri import local_path

MARKER = "tlnlp-encoder.json"
_FILE = "encoders.yaml"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")


class HubSource(Settings):
    """``revision``: the commit that is fetched; None: nobody has looked it up, so it must be given."""

    name: str
    revision: str | None


class MavenSource(Settings):
    """``artefact``: group:name:version of a jar; ``graph`` and ``tokenizer``: what is read from it; ``heads``: of
    attention."""

    artefact: str
    graph: str
    graph_sha256: str
    tokenizer: str
    tokenizer_sha256: str
    heads: int


class KnownEncoder(Settings):
    """One encoder of the catalogue; ``prompts``: by name, the first for classification."""

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
        """Where it comes from, in one word for people."""
        if self.package is not None:
            return f"package {self.package}"
        if self.maven is not None:
            return f"maven {self.maven.artefact}"
        return f"hub {self.hub.name}" if self.hub is not None else "nowhere"


class Catalogue(Settings):
    encoders: tuple[KnownEncoder, ...]


def catalogue_file() -> Path:
    """The catalogue that comes with tlnlp: inside an installed package, or in the checkout's ``conf/``."""
    installed = Path(__file__).parents[1] / _FILE
    return installed if installed.exists() else Path(__file__).parents[2] / "conf" / _FILE


def known(file: str | Path | None = None, overrides: Sequence[str] = ()) -> dict[str, KnownEncoder]:
    """Read the encoders of a catalogue, by name; ``file``: another catalogue than the one that comes with tlnlp.

    Raises:
        UsageError: the file cannot be read, has an unknown key, or a name that is no name or stands there twice.
    """
    path = Path(file) if file is not None else catalogue_file()
    found: dict[str, KnownEncoder] = {}
    for entry in load_settings(Catalogue, path, overrides).encoders:
        if not _NAME.fullmatch(entry.name) or entry.name in found:
            raise UsageError(
                f"{path}: {entry.name!r} stands there twice, or is not of a-z, 0-9, dot, dash and underline; rename it"
            )
        found[entry.name] = entry
    return found


def cache() -> Path:
    """The folder that fetched encoders live in: ``TLNLP_ENCODERS``, else below ``XDG_CACHE_HOME`` or ``~/.cache``."""
    if own := os.environ.get("TLNLP_ENCODERS"):
        return Path(own).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "tlnlp" / "encoders"


def at_hand(name: str, encoders: dict[str, KnownEncoder] | None = None) -> Path | None:
    """The folder on this machine of an encoder by name, from its package or the cache; None if it must be fetched."""
    name = name.lower()
    entry = (known() if encoders is None else encoders).get(name)
    if entry is not None and entry.package is not None and importlib.util.find_spec(entry.package) is not None:
        return Path(str(importlib.resources.files(entry.package) / "model"))
    folder = cache() / name
    return folder if _NAME.fullmatch(name) and (folder / MARKER).exists() else None


def resolve(encoder: str) -> str:
    """Where an encoder's files are: a folder on this machine; or, of a name not known here, the name as it is.

    Args:
        encoder: a name of the catalogue, else a folder, else the name of one fetched by another catalogue, a URI, or
            the name of a model on a hub.

    Raises:
        InputDataError: the catalogue knows it, but it is not at hand.
        StorageError: it is in a store, which cannot be read.
    """
    if "://" in encoder:
        return str(_laid(encoder))
    entry = known().get(encoder.lower())
    if entry is None and Path(encoder).is_dir():
        return encoder
    folder = at_hand(encoder)
    if folder is not None:
        return str(folder)
    if entry is None:
        return encoder
    if entry.package is not None:
        raise InputDataError(f"encoder {entry.name} comes in the package {entry.package}: install tlnlp[train]")
    raise InputDataError(
        f"encoder {entry.name} is not on this machine ({cache()}); run: tlnlp encoders fetch {entry.name}"
    )


def own_folder(encoder: str) -> Path | None:
    """The folder of an encoder that only this machine has for certain: local or cached, not of a package or a store."""
    if "://" in encoder and local_path(encoder) is None:
        return None
    entry = known().get(encoder.lower())
    folder = Path(resolve(encoder))
    return folder if (entry is None or entry.package is None) and folder.is_dir() else None


def _laid(uri: str) -> Path:
    """The folder on this machine of an encoder kept in a store; copied once, in one rename."""
    path = local_path(uri)
    if path is not None:
        return path
    target = Path(tempfile.gettempdir()) / "tlnlp-encoders" / hashlib.sha256(uri.encode()).hexdigest()[:16]
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        storage = Storage(uri)
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            storage.download([entry.key for entry in storage.list()], Path(folder) / "encoder")
            with contextlib.suppress(OSError):  # Another process was first.
                (Path(folder) / "encoder").rename(target)
    return target
