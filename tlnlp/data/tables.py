"""The files of a table in Parquet, JSON Lines or CSV: one file, or a folder of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

import pyarrow as pa

from tlnlp.errors import InputDataError, NotFoundError
from tlnlp.storage import Storage, resolve_uri

FORMATS = {
    ".parquet": "parquet",
    ".jsonl": "json",
    ".json": "json",
    ".ndjson": "json",
    ".csv": "csv",
}


@dataclass(frozen=True)
class SourceFile:
    """One input file, read: its URI, raw bytes and format (``parquet``, ``json`` or ``csv``)."""

    uri: str
    data: bytes
    format: str


def format_of(name: str) -> str | None:
    """The format that a file's name tells, or None. A compressed JSON or CSV file keeps its second ending."""
    path = PurePosixPath(name.lower())
    suffix = PurePosixPath(path.stem).suffix if path.suffix in (".gz", ".bz2", ".zst") else path.suffix
    return FORMATS.get(suffix)


def data_keys(folder: Storage, name: str) -> list[str]:
    """Keys of the files of the folder ``name`` below ``folder``, sorted.

    Left out is what engines leave beside data (``_SUCCESS``, ``.crc``); ``name`` itself may begin as it likes.
    """
    keys = [entry.key for entry in folder.list(name)]
    inside = [(key, key.removeprefix(f"{name}/").split("/")) for key in keys]
    return sorted(key for key, parts in inside if not any(part.startswith(("_", ".")) for part in parts))


def split_uri(uri: str) -> tuple[Storage, str]:
    """The folder that holds the last part of a URI, and that part's name."""
    parent, _, name = resolve_uri(uri).rpartition("/")
    return Storage(parent if not parent.endswith("//") else parent + "/"), name


def source_files(uri: str) -> Iterator[SourceFile]:
    """Every file of a table, in the order of their names.

    Raises:
        InputDataError: nothing is there, or nothing in a known format.
        StorageError: the store cannot be read.
    """
    folder, name = split_uri(uri)
    format = format_of(name)
    if format is not None:
        try:
            yield SourceFile(folder.url(name), folder.read(name), format)
            return
        except NotFoundError:
            pass  # A folder may well be called "labels.parquet": Spark writes such folders.
    root = Storage(uri)
    keys = data_keys(folder, name)
    found = [(key, kind) for key in keys if (kind := format_of(key)) is not None]
    if not keys and not folder.exists(name):
        raise InputDataError(f"{root.uri}: nothing is there; check the path")
    if not found:
        endings = ", ".join(FORMATS)
        raise InputDataError(f"{root.uri}: no file there ends in {endings}; check the path")
    for key, kind in found:
        yield SourceFile(folder.url(key), folder.read(key), kind)


def decompressed(source: SourceFile) -> bytes:
    """The bytes of a file, unpacked if its name ends in .gz, .bz2 or .zst. Raises OSError: truncated, or not packed."""
    ending = source.uri.lower().rsplit(".", 1)[-1]
    codec = {"gz": "gzip", "bz2": "bz2", "zst": "zstd"}.get(ending)
    if codec is None:
        return source.data
    with pa.CompressedInputStream(pa.BufferReader(source.data), codec) as stream:
        return bytes(stream.read())
