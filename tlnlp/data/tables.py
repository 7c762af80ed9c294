"""Reading a small table (a labelled set) from Parquet, JSON Lines or CSV: one file, or a folder of them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet

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


def is_hidden(key: str) -> bool:
    """True for what engines leave beside data (``_SUCCESS``, ``.crc``) and readers pass over."""
    return any(part.startswith(("_", ".")) for part in key.split("/"))


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
    keys = sorted(entry.key for entry in folder.list(name) if not is_hidden(entry.key))
    found = [(key, kind) for key in keys if (kind := format_of(key)) is not None]
    if not keys:
        raise InputDataError(f"{root.uri}: nothing is there; check the path")
    if not found:
        endings = ", ".join(FORMATS)
        raise InputDataError(f"{root.uri}: no file there ends in {endings}; check the path")
    for key, kind in found:
        yield SourceFile(folder.url(key), folder.read(key), kind)


def read_table(source: SourceFile) -> pa.Table:
    """One file as an Arrow table.

    Raises:
        InputDataError: the file is truncated, not in its format, or not UTF-8.
    """
    data = _decompressed(source)
    if source.format != "parquet":
        _check_utf8(source.uri, data)
    try:
        if source.format == "parquet":
            return pyarrow.parquet.read_table(io.BytesIO(data))
        if source.format == "json":
            return pyarrow.json.read_json(io.BytesIO(data), read_options=pyarrow.json.ReadOptions(block_size=1 << 28))
        return pyarrow.csv.read_csv(
            io.BytesIO(data),
            parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
            convert_options=pyarrow.csv.ConvertOptions(strings_can_be_null=False),
        )
    except (pa.ArrowException, OSError) as error:
        # Arrow's own message may quote the data, so only its kind is passed on.
        kind = type(error).__name__
        raise InputDataError(
            f"{source.uri}: not a readable {source.format} file ({kind}); it may be truncated, write it again"
        ) from error


def _decompressed(source: SourceFile) -> bytes:
    ending = source.uri.lower().rsplit(".", 1)[-1]
    codec = {"gz": "gzip", "bz2": "bz2", "zst": "zstd"}.get(ending)
    if codec is None:
        return source.data
    try:
        with pa.CompressedInputStream(pa.BufferReader(source.data), codec) as stream:
            return bytes(stream.read())
    except (pa.ArrowException, OSError) as error:
        raise InputDataError(f"{source.uri}: cannot be decompressed; it may be truncated, write it again") from error


def _check_utf8(uri: str, data: bytes) -> None:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputDataError(f"{uri}: line {line} is not UTF-8; convert the file (iconv -t UTF-8) first") from error
