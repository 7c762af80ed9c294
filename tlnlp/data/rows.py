"""Read some columns of a small table row by row; an unreadable row is reported and does not stop the others."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from tlnlp.data.tables import SourceFile, decompressed
from tlnlp.errors import InputDataError

_BOM = b"\xef\xbb\xbf"
WRONG_ENCODING = ("wrong encoding", "not UTF-8; convert the file (iconv -t UTF-8)")


@dataclass(frozen=True)
class Row:
    """Hold the values of one row, or its fault.

    Fields:
        number: place in the file, from 1 (JSON Lines: lines; CSV: records below the header); 0 means the whole file.
        values: one value for each wanted column, in their order; None where the row has none.
        fault: kind and detail of the fault; None for a readable row.
    """

    number: int
    values: tuple[object, ...] = ()
    fault: tuple[str, str] | None = None


def read_rows(source: SourceFile, wanted: Sequence[str]) -> Iterator[Row]:
    """Yield the wanted columns of a file, row by row. Values of a CSV file are text, exactly as written.

    A truncated file, or one in another format than its name says, yields one row: number 0, with a fault.

    Raises:
        InputDataError: the file lacks a wanted column, or has several of that name.
    """
    try:
        data = decompressed(source)
        if source.format == "json":
            yield from _json_rows(source, data.removeprefix(_BOM), wanted)
            return
        if source.format == "parquet":
            table, skipped = _parquet(source, data, wanted), set[int]()
        else:
            table, skipped = _csv(source, data.removeprefix(_BOM), wanted)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        # Arrow's message may quote the data, so the fault names only the class of the error.
        detail = f"not readable as {source.format} ({type(error).__name__}); the file may be truncated, write it again"
        yield Row(0, fault=("unreadable file", detail))
        return
    yield from _table_rows(table, wanted, skipped)


def _parquet(source: SourceFile, data: bytes, wanted: Sequence[str]) -> pa.Table:
    file = pyarrow.parquet.ParquetFile(io.BytesIO(data))
    _check_columns(source, file.schema_arrow.names, wanted)
    return file.read(columns=list(wanted))


def _csv(source: SourceFile, data: bytes, wanted: Sequence[str]) -> tuple[pa.Table, set[int]]:
    """Return the wanted columns as bytes, and the numbers of the records with too few or too many fields."""
    skipped: set[int] = set()

    def skip(row: pyarrow.csv.InvalidRow) -> str:
        skipped.add(row.number - 1)
        return "skip"

    # With threads, Arrow does not report the number of a bad record.
    read = pyarrow.csv.ReadOptions(use_threads=False)
    parse = pyarrow.csv.ParseOptions(newlines_in_values=True, invalid_row_handler=skip)
    bare = pyarrow.csv.ConvertOptions(check_utf8=False)
    with pyarrow.csv.open_csv(io.BytesIO(data), read, parse, bare) as opened:
        _check_columns(source, opened.schema.names, wanted)
    convert = pyarrow.csv.ConvertOptions(
        check_utf8=False,
        strings_can_be_null=False,
        include_columns=list(wanted),
        column_types={name: pa.binary() for name in wanted},
    )
    return pyarrow.csv.read_csv(io.BytesIO(data), read, parse, convert), skipped


def _table_rows(table: pa.Table, wanted: Sequence[str], skipped: set[int]) -> Iterator[Row]:
    columns = [_as_bytes(table.column(name)).to_pylist() for name in wanted]
    records = zip(*columns, strict=True)
    for number in range(1, table.num_rows + len(skipped) + 1):
        if number in skipped:
            yield Row(number, fault=("unreadable row", "more or fewer fields than the header; check its quotes"))
            continue
        try:
            yield Row(number, tuple(value.decode() if isinstance(value, bytes) else value for value in next(records)))
        except UnicodeDecodeError:
            yield Row(number, fault=WRONG_ENCODING)


def _as_bytes(column: pa.ChunkedArray) -> pa.ChunkedArray:
    # Arrow decodes a whole column at once, so one bad value would make all of them unreadable.
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return column.cast(pa.large_binary())
    return column


def _json_rows(source: SourceFile, data: bytes, wanted: Sequence[str]) -> Iterator[Row]:
    lines = [(number, line) for number, line in enumerate(data.split(b"\n"), start=1) if line.strip()]
    parsed = [(number, _parse_line(line)) for number, line in lines]
    records = [record for _, record in parsed if isinstance(record, dict)]
    if not records:
        yield Row(0, fault=("unreadable file", "no line is a JSON object in UTF-8; write one object per line"))
        return
    _check_columns(source, list(dict.fromkeys(name for record in records for name in record)), wanted)
    for number, record in parsed:
        if isinstance(record, dict):
            yield Row(number, tuple(record.get(name) for name in wanted))
        else:
            yield Row(number, fault=record)


def _parse_line(line: bytes) -> dict[str, object] | tuple[str, str]:
    try:
        record = json.loads(line.decode())
    except UnicodeDecodeError:
        return WRONG_ENCODING
    except (ValueError, RecursionError):
        return "unreadable row", "the line is not JSON; the file may be truncated"
    return record if isinstance(record, dict) else ("unreadable row", "the line is not a JSON object")


def _check_columns(source: SourceFile, names: Sequence[str], wanted: Sequence[str]) -> None:
    for column in wanted:
        if (count := names.count(column)) != 1:
            problem = f"has no column {column!r}" if count == 0 else f"has {count} columns {column!r}"
            raise InputDataError(
                f"{source.uri}: {problem} (it has: {', '.join(names)}); "
                "set the names of your columns with --set text_column= and --set label_column="
            )
