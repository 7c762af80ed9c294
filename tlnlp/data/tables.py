"""List and open the files of a table in Parquet, JSON Lines or CSV: one file, or a folder of files."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, BinaryIO

import pyarrow as pa

from tlnlp.errors import InputDataError
from tlnlp.storage import Entry, Storage, resolve_uri

FORMATS = {
    ".parquet": "parquet",
    ".jsonl": "json",
    ".json": "json",
    ".ndjson": "json",
    ".csv": "csv",
}
CODECS = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}
AUTO = "auto"


@dataclass(frozen=True)
class SourceFile:
    """Name one input file: its storage, its key there, its format (``parquet``, ``json`` or ``csv``) and its size."""

    storage: Storage
    key: str
    format: str
    size_bytes: int

    @property
    def uri(self) -> str:
        """Return the URI of the file."""
        return self.storage.url(self.key)

    @property
    def codec(self) -> str | None:
        """Return how the file is compressed as a whole, by the ending of its name; None where it is not."""
        return CODECS.get(PurePosixPath(self.key.lower()).suffix)

    def read(self) -> bytes:
        """Return the bytes of the file, as they are stored."""
        return self.storage.read(self.key)

    @contextmanager
    def opened(self, data: bytes | None = None) -> Iterator[Any]:
        """Open the file for reading, decompressed. A file that is not compressed can be read from any place.

        Args:
            data: the bytes of the file, where they are at hand. None: they are read from the storage, in pieces.
        """
        stored: BinaryIO = io.BytesIO(data) if data is not None else self.storage.open(self.key)
        with stored:
            if self.codec is None:
                yield stored
            else:
                with pa.CompressedInputStream(pa.PythonFile(stored, "r"), self.codec) as stream:
                    yield stream


def format_of(name: str) -> str | None:
    """Return the format by the ending of a file name, or None; of ``name.csv.gz`` the ending is ``.csv``."""
    path = PurePosixPath(name.lower())
    suffix = PurePosixPath(path.stem).suffix if path.suffix in CODECS else path.suffix
    return FORMATS.get(suffix)


def is_hidden(name: str) -> bool:
    """Return whether engines hide a file or folder of this name (``_SUCCESS``, ``.crc``), as Spark does.

    The folder of a partition is not hidden, even if the name of its column begins with "_": ``_day=2026-01-31``.
    """
    return name.startswith(".") or (name.startswith("_") and "=" not in name) or name.endswith("._COPYING_")


def data_entries(folder: Storage, name: str) -> list[Entry]:
    """Return the files in the folder ``name`` below ``folder`` and its sub-folders, sorted by key.

    Hidden files and folders are left out (see ``is_hidden``). The name of the folder itself may be a hidden one.
    """
    found = [(entry, entry.key.removeprefix(f"{name}/").split("/")) for entry in folder.list(name)]
    shown = [entry for entry, parts in found if not any(map(is_hidden, parts))]
    return sorted(shown, key=lambda entry: entry.key)


def split_uri(uri: str) -> tuple[Storage, str]:
    """Split a URI into the folder above its last part, and the name of that part."""
    parent, _, name = resolve_uri(uri).rpartition("/")
    return Storage(parent if not parent.endswith("//") else parent + "/"), name


def source_files(uri: str, format: str = AUTO, format_key: str = "format") -> list[SourceFile]:
    """Return the files of a table, in the order of their names. Nothing is opened.

    Args:
        format: ``auto``: all files in a known format, each by its name. Otherwise a format: the files of a folder whose
            names show it; where no name does, the files whose names show no format; a single file, whatever its name.
        format_key: the key of the settings that gives the format, for messages.

    Raises:
        InputDataError: there is no file, or none in a known format.
        StorageError: the store cannot be read.
    """
    folder, name = split_uri(uri)
    # A folder may be named like a file: Spark writes folders named "labels.parquet".
    size = folder.size_bytes(name)
    if size is not None:
        entries = [(name, size)]
    else:
        entries = [(entry.key, entry.size_bytes) for entry in data_entries(folder, name)]
    if not entries:
        raise InputDataError(f"{resolve_uri(uri)}: nothing is there; check the path")
    kinds = [format_of(key) for key, _ in entries]
    if format == AUTO:
        found = [SourceFile(folder, key, kind, size) for (key, size), kind in zip(entries, kinds, strict=True) if kind]
    else:
        shown = None if size is not None or format not in kinds else format
        of_kind = [entry for entry, kind in zip(entries, kinds, strict=True) if size is not None or kind == shown]
        found = [SourceFile(folder, key, format, bytes_) for key, bytes_ in of_kind]
    if not found:
        endings = ", ".join(FORMATS)
        raise InputDataError(
            f"{resolve_uri(uri)}: no file there ends in {endings}; check the path, or give the format with "
            f"--set {format_key}="
        )
    return found
