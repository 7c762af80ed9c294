"""List and open the files of a table in Parquet, JSON Lines or CSV: one file, or a folder of files."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, BinaryIO

import pyarrow as pa

from tlnlp.errors import InputDataError, StorageError
from tlnlp.storage import Storage, local_path, resolve_uri

FORMATS = {
    ".parquet": "parquet",
    ".jsonl": "json",
    ".json": "json",
    ".ndjson": "json",
    ".csv": "csv",
}
CODECS = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}
AUTO = "auto"


def unreadable(uri: str) -> str:
    """Return the sentence for a file that its reader refuses without a cause."""
    return f"{uri} cannot be read; it may be truncated or of another format; write it again or move it away"


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


@dataclass(frozen=True)
class Listing:
    """The files of a table, and the names of the files in the same folder that are not read.

    A hidden file is among ``left_out`` only where its name shows a known format: a mark (``_SUCCESS``) or a checksum
    (``.crc``) holds no records.
    """

    files: list[SourceFile]
    left_out: list[str]


def is_hidden(name: str) -> bool:
    """Return whether engines hide a file or folder of this name (``_SUCCESS``, ``.crc``), as Spark does.

    The folder of a partition is not hidden, even if the name of its column begins with "_": ``_day=2026-01-31``.
    """
    return name.startswith(".") or (name.startswith("_") and "=" not in name) or name.endswith("._COPYING_")


def split_uri(uri: str) -> tuple[Storage, str]:
    """Split a URI into the folder above its last part, and the name of that part."""
    parent, _, name = resolve_uri(uri).rpartition("/")
    return Storage(parent if not parent.endswith("//") else parent + "/"), name


def source_files(uri: str, format: str = AUTO, format_key: str = "format") -> list[SourceFile]:
    """Return the files of a table, as ``list_source`` does."""
    return list_source(uri, format, format_key).files


def list_source(uri: str, format: str = AUTO, format_key: str = "format") -> Listing:
    """List the files of a table, in the order of their names. Nothing is opened.

    Files in sub-folders are read too; hidden files and folders are not (see ``is_hidden``). The folder itself may have
    the name of a hidden one.

    Args:
        format: ``auto``: all files in a known format, each by its name. Otherwise a format: the files of a folder whose
            names show it; where no name does, the files whose names show no format; a single file, whatever its name.
        format_key: the key of the settings that gives the format, for messages.

    Raises:
        InputDataError: there is no file, or none in a known format; or the folder is one of Delta, Iceberg or Hudi.
        StorageError: the store cannot be read.
    """
    folder, name = split_uri(uri)
    # A folder may be named like a file: Spark writes folders named "labels.parquet".
    size = folder.size_bytes(name)
    if size is not None:
        entries, hidden = [(name, size)], list[str]()
    else:
        entries, hidden = _entries(folder, name)
    if not entries:
        path = local_path(uri)
        problem = "the folder holds no files" if path is not None and path.is_dir() else "nothing is there"
        raise InputDataError(f"{resolve_uri(uri)}: {problem}; check the path")
    shown = format if format in {format_of(key) for key, _ in entries} else None
    files, left_out = list[SourceFile](), [key for key in hidden if format_of(key)]
    for key, bytes_ in entries:
        kind = format_of(key)
        if format != AUTO:
            kind = format if size is not None or kind == shown else None
        if kind is None:
            left_out.append(key)
        else:
            files.append(SourceFile(folder, key, kind, bytes_))
    if not files:
        raise InputDataError(
            f"{resolve_uri(uri)}: no file there ends in {', '.join(FORMATS)}; check the path, or give the format with "
            f"--set {format_key}="
        )
    return Listing(files, sorted(key.removeprefix(f"{name}/") for key in left_out))


def _entries(folder: Storage, name: str) -> tuple[list[tuple[str, int]], list[str]]:
    """Return the files in the folder ``name`` and its sub-folders, sorted: key and size of each, and the hidden keys.

    Raises:
        InputDataError: the folder holds a table whose own log says which of its files and rows are valid.
    """
    shown, hidden = list[tuple[str, int]](), list[str]()
    with suppress(StorageError):  # The folder above need not be readable.
        if any(next(folder.list(mark), None) for mark in ("_delta_log", ".hoodie")):
            raise _table_refusal(folder.url(name), "Delta or Hudi")
    for entry in sorted(folder.list(name), key=lambda entry: entry.key):
        parts = entry.key.removeprefix(f"{name}/").split("/")
        if (kind := _table_format(parts)) is not None:
            raise _table_refusal(folder.url(name), kind)
        if any(map(is_hidden, parts)):
            hidden.append(entry.key)
        else:
            shown.append((entry.key, entry.size_bytes))
    return shown, hidden


def _table_refusal(uri: str, kind: str) -> InputDataError:
    return InputDataError(
        f"{uri}: the folder belongs to a table of {kind}, whose files also hold rows that the table has deleted or "
        f"replaced; export its rows to a folder of Parquet with an engine that reads {kind}, and name that folder"
    )


def _table_format(parts: list[str]) -> str | None:
    """Return the name of the table format that a file belongs to by its path, or None."""
    *folders, name = parts
    if "_delta_log" in folders:
        return "Delta"
    if ".hoodie" in folders:
        return "Hudi"
    return "Iceberg" if folders[-1:] == ["metadata"] and name.endswith(".metadata.json") else None
