"""List and read the files of a table in Parquet, JSON Lines or CSV: one file, or a folder of files."""

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
    """Hold the URI, the raw bytes and the format (``parquet``, ``json`` or ``csv``) of one input file."""

    uri: str
    data: bytes
    format: str


def format_of(name: str) -> str | None:
    """Return the format by the ending of a file name, or None; of ``name.csv.gz`` the ending is ``.csv``."""
    path = PurePosixPath(name.lower())
    suffix = PurePosixPath(path.stem).suffix if path.suffix in (".gz", ".bz2", ".zst") else path.suffix
    return FORMATS.get(suffix)


def data_keys(folder: Storage, name: str) -> list[str]:
    """Return the keys of the files in the folder ``name`` below ``folder``, sorted.

    Files and folders that begin with "_" or "." are left out: engines write them beside the data (``_SUCCESS``,
    ``.crc``). The name of the folder itself may begin with them.
    """
    keys = [entry.key for entry in folder.list(name)]
    inside = [(key, key.removeprefix(f"{name}/").split("/")) for key in keys]
    return sorted(key for key, parts in inside if not any(part.startswith(("_", ".")) for part in parts))


def split_uri(uri: str) -> tuple[Storage, str]:
    """Split a URI into the folder above its last part, and the name of that part."""
    parent, _, name = resolve_uri(uri).rpartition("/")
    return Storage(parent if not parent.endswith("//") else parent + "/"), name


def source_files(uri: str) -> Iterator[SourceFile]:
    """Read the files of a table one after the other, in the order of their names.

    Raises:
        InputDataError: there is no file, or none in a known format.
        StorageError: the store cannot be read.
    """
    folder, name = split_uri(uri)
    format = format_of(name)
    if format is not None:
        try:
            yield SourceFile(folder.url(name), folder.read(name), format)
            return
        except NotFoundError:
            pass  # A folder may have such a name, too: Spark writes folders named "labels.parquet".
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
    """Return the bytes of a file, decompressed if its name ends in .gz, .bz2 or .zst.

    Raises:
        OSError: the file is truncated, or not compressed in that format.
    """
    ending = source.uri.lower().rsplit(".", 1)[-1]
    codec = {"gz": "gzip", "bz2": "bz2", "zst": "zstd"}.get(ending)
    if codec is None:
        return source.data
    with pa.CompressedInputStream(pa.BufferReader(source.data), codec) as stream:
        return bytes(stream.read())
