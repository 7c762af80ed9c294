"""Some columns of a small table, row by row: what cannot be read is a fault of its row, not of the whole file."""

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
    """``number`` counts from 1 within the file (JSON Lines: lines; CSV: records below the header); 0 is the file.

    ``values``: one a wanted column, text decoded, None where there is none; or ``fault``, a kind and a detail.
    """

    number: int
    values: tuple[object, ...] = ()
    fault: tuple[str, str] | None = None


def read_rows(source: SourceFile, wanted: Sequence[str]) -> Iterator[Row]:
    """The wanted columns of a file, by name. Every value of a CSV file is text, as it is written.

    A file that is truncated, or not in its format, is one row of number 0 with a fault.

    Raises:
        InputDataError: the file has not exactly one column of a wanted name.
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
        # Arrow's own message may quote the data, so only its kind is passed on.
        detail = f"not readable as {source.format} ({type(error).__name__}); it may be truncated, write it again"
        yield Row(0, fault=("unreadable file", detail))
        return
    yield from _table_rows(table, wanted, skipped)


def _parquet(source: SourceFile, data: bytes, wanted: Sequence[str]) -> pa.Table:
    file = pyarrow.parquet.ParquetFile(io.BytesIO(data))
    _check_columns(source, file.schema_arrow.names, wanted)
    return file.read(columns=list(wanted))


def _csv(source: SourceFile, data: bytes, wanted: Sequence[str]) -> tuple[pa.Table, set[int]]:
    """The wanted columns as bytes, and the numbers of the records that have too few or too many fields."""
    skipped: set[int] = set()

    def skip(row: pyarrow.csv.InvalidRow) -> str:
        skipped.add(row.number - 1)
        return "skip"

    # Threads would lose the number of a bad record.
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
    # Arrow decodes a whole column at once, and one bad value would hide the others.
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
        yield Row(0, fault=("unreadable file", "no line is a JSON object in UTF-8; write one object a line"))
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
                "name yours with --set text_column= and --set label_column="
            )
