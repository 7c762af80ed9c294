"""Read some columns of a file row by row; an unreadable row is reported and does not stop the others.

A file is read in pieces: Parquet by record batches, JSON Lines and CSV by blocks. Spark splits lines into records and
values by the same functions (see ``line_batches``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from tlnlp.data.csv_records import DEFAULT_DIALECT, CsvDialect, CsvRecord, CsvRecords, check_delimiter, column_names
from tlnlp.data.encodings import UTF8, checked_lines
from tlnlp.data.json_lines import UNREADABLE_ROW, parse_line, wrong_encoding
from tlnlp.data.lines import LineTooLongError, read_lines
from tlnlp.data.tables import SourceFile
from tlnlp.data.text import has_surrogates, with_escapes
from tlnlp.errors import InputDataError, did_you_mean

BATCH_ROWS = 1024
BUFFER_BYTES = 1 << 20
UNREADABLE_FILE = "unreadable file"
COLUMN_KEYS = "set the names of your columns with --set text_column= and --set label_column="
# Whether a file holds JSON at all is decided by so many lines; until then their faults are held back.
_FIRST_LINES = 1000


@dataclass(frozen=True)
class Row:
    """Hold the values of one row, or its fault.

    Fields:
        number: place in the file, from 1 (JSON Lines: lines; CSV: records below the header); 0 means the whole file.
        values: one value for each wanted column, in their order; None where the row has none.
        fault: kind and detail of the fault; None for a readable row.
        line: number of the row's first line in a CSV file, from 1; 0 where it is not known.
    """

    number: int
    values: tuple[object, ...] = ()
    fault: tuple[str, str] | None = None
    line: int = 0


@dataclass(frozen=True)
class Part:
    """The rows of a file that begin between two places, in bytes; ``end`` None is the end of the file.

    Of Parquet these are whole row groups. A CSV file whose fields may hold line breaks, or a compressed file, has only
    one part.
    """

    source: SourceFile
    start: int = 0
    end: int | None = None


def read_rows(
    source: SourceFile,
    wanted: Sequence[str],
    dialect: CsvDialect = DEFAULT_DIALECT,
    data: bytes | None = None,
    encoding: str = UTF8,
) -> Iterator[Row]:
    """Yield the wanted columns of a file, row by row. Values of a CSV file are text, exactly as written.

    A truncated file yields a row with number 0 and a fault, after the rows before the damage.

    Args:
        dialect: how the file is written, if it is CSV.
        data: the bytes of the file, where they are at hand. None: the file is read in pieces.
        encoding: of the text, if the file is CSV or JSON Lines.

    Raises:
        InputDataError: the file lacks a wanted column, or has several of that name; or it is not text that can be read
            by lines.
        StorageError: the store cannot be read.
    """
    yield from read_part(Part(source), wanted, dialect, data, encoding)


def read_part(
    part: Part,
    wanted: Sequence[str],
    dialect: CsvDialect = DEFAULT_DIALECT,
    data: bytes | None = None,
    encoding: str = UTF8,
    advice: str = COLUMN_KEYS,
) -> Iterator[Row]:
    """Yield the rows of a part of a file, as ``read_rows`` does; they are numbered from the start of the part.

    Args:
        advice: what to do about a missing column, as its error says it.
    """
    source = part.source
    try:
        with source.opened(data) as stream:
            if source.format == "parquet":
                yield from _parquet_rows(part, stream, wanted, advice)
            elif source.format == "json":
                yield from _json_rows(part, read_lines(stream, part.start, part.end), wanted, encoding, advice)
            else:
                yield from _csv_rows(part, stream, wanted, dialect, encoding, advice)
    except LineTooLongError as error:
        yield Row(0, fault=(UNREADABLE_FILE, f"{error}; check the format of the file, and its line breaks"))
    except (pa.ArrowException, OSError, EOFError) as error:
        # Arrow's message may quote the data, so the fault names only the class of the error.
        detail = f"not readable as {source.format} ({type(error).__name__}); the file may be truncated, write it again"
        yield Row(0, fault=(UNREADABLE_FILE, detail))


def _parquet_rows(part: Part, stream: Any, wanted: Sequence[str], advice: str) -> Iterator[Row]:
    if part.source.codec is not None:
        stream = pa.BufferReader(stream.read())  # The end of a Parquet file is read first.
    # With a buffer, a column of a row group is read in pieces.
    file = pyarrow.parquet.ParquetFile(stream, buffer_size=BUFFER_BYTES, pre_buffer=False)
    check_columns(part.source.uri, file.schema_arrow.names, wanted, advice)
    groups = [group for group in range(file.num_row_groups) if _begins_in(part, file.metadata.row_group(group))]
    last = 0
    for batch in file.iter_batches(BATCH_ROWS, row_groups=groups, columns=list(wanted)):
        columns = [_as_bytes(batch.column(name)).to_pylist() for name in wanted]
        for number, values in enumerate(zip(*columns, strict=True), start=last + 1):
            try:
                yield Row(number, tuple(value.decode() if isinstance(value, bytes) else value for value in values))
            except UnicodeDecodeError:
                yield Row(number, fault=wrong_encoding())
        last += batch.num_rows


def _begins_in(part: Part, group: Any) -> bool:
    column = group.column(0)
    begins = min(place for place in (column.dictionary_page_offset, column.data_page_offset) if place is not None)
    return begins >= part.start and (part.end is None or begins < part.end)


def _as_bytes(column: pa.Array) -> pa.Array:
    # Arrow decodes a whole column at once, so one bad value would make all of them unreadable.
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return column.cast(pa.large_binary())
    return column


def _csv_rows(
    part: Part, stream: Any, wanted: Sequence[str], dialect: CsvDialect, encoding: str, advice: str
) -> Iterator[Row]:
    names: list[str] = []
    if part.start:
        head = next(CsvRecords(read_lines(stream), dialect, encoding), None)
        names = column_names(head.fields or [], dialect) if head is not None else []
    lines = read_lines(stream, part.start, part.end)
    yield from csv_rows(part.source.uri, lines, wanted, dialect, encoding, names, part.start == 0, advice)


def csv_rows(
    uri: str,
    lines: Iterator[bytes],
    wanted: Sequence[str],
    dialect: CsvDialect,
    encoding: str = UTF8,
    names: Sequence[str] = (),
    has_start: bool = True,
    advice: str = COLUMN_KEYS,
) -> Iterator[Row]:
    """Yield the rows of a CSV file by its lines. A faulty row holds what values it has.

    Args:
        names: the columns that the file has to have. Empty: those that it says.
        has_start: whether the lines begin with the first one of the file. Without it, ``names`` must be given.
        advice: what to do about a missing column.

    Raises:
        InputDataError: the file lacks a wanted column, has several of that name, or other columns than ``names``; or it
            is not text that can be read by lines.
    """
    first = next(iterator := iter(checked_lines(uri, lines, "csv") if has_start else lines), None)
    if first is None and has_start:
        yield Row(0, fault=(UNREADABLE_FILE, "not readable as csv: the file is empty; write it again"))
    records = CsvRecords(chain([] if first is None else [first], iterator), dialect, encoding, has_start)
    found = [] if has_start else list(names)
    places = [] if has_start else check_columns(uri, found, wanted, advice)
    records.width = len(found) or None
    number = 0
    for record in records:
        if not found:
            found = column_names(record.fields or [], dialect)
            if not set(wanted) <= set(found):
                check_delimiter(uri, records.text, wanted, dialect)
            if record.fields is None:
                detail = f"the quotes of line {record.line}, the first one, do not match; check the quotes of the file"
                yield Row(0, fault=(UNREADABLE_FILE, detail))
                return
            places = check_columns(uri, found, wanted, advice)
            records.width = len(found)
            if names and found != list(names):
                shown = [", ".join(map(with_escapes, each)) for each in (found, names)]
                raise InputDataError(
                    f"{uri}: its columns are {shown[0]}, in other files {shown[1]}; set csv.multiline=true"
                )
            if dialect.header:
                continue
        number += 1
        yield _csv_row(number, record, places, encoding)


def _csv_row(number: int, record: CsvRecord, places: Sequence[int], encoding: str) -> Row:
    if record.fields is None:
        return Row(number, (), (UNREADABLE_ROW, record.problem or ""), record.line)
    values = tuple(record.fields[place] if place < len(record.fields) else None for place in places)
    if record.problem is not None:
        return Row(number, values, (UNREADABLE_ROW, record.problem), record.line)
    is_broken = any(value is not None and has_surrogates(value) for value in values)
    return Row(number, values, wrong_encoding(encoding) if is_broken else None, record.line)


def _json_rows(part: Part, lines: Iterator[bytes], wanted: Sequence[str], encoding: str, advice: str) -> Iterator[Row]:
    is_whole = part == Part(part.source)
    names = dict.fromkeys(wanted, False)  # Whether each was seen; the names of other columns are for a message.
    held: list[Row] | None = [] if is_whole else None  # None once a line is known to be a JSON object.
    others: dict[str, None] = {}
    if part.start == 0:
        lines = checked_lines(part.source.uri, lines, "json")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        record, fault = parse_line(line, wanted, encoding)
        if record is not None:
            yield from held or ()
            held = None
            for name in record:
                if name in names:
                    names[name] = True
                elif len(others) < _FIRST_LINES:
                    others[name] = None
            yield Row(number, tuple(record.get(name) for name in wanted), fault)
        elif held is not None and len(held) < _FIRST_LINES:
            held.append(Row(number, fault=fault))
        else:
            yield from held or ()
            held = None
            yield Row(number, fault=fault)
    if held is not None:
        yield Row(0, fault=(UNREADABLE_FILE, "no line is a JSON object; write one object a line (jq -c .)"))
    elif is_whole:
        check_columns(part.source.uri, [*(name for name, seen in names.items() if seen), *others], wanted, advice)


def check_columns(uri: str, names: Sequence[str], wanted: Sequence[str], advice: str = COLUMN_KEYS) -> list[int]:
    """Return the places of the wanted columns among the names of a file's columns; ``advice`` ends the message.

    Raises:
        InputDataError: a column is missing, or there are several of that name.
    """
    for column in wanted:
        if (count := names.count(column)) != 1:
            problem = f"has no column {column!r}" if count == 0 else f"has {count} columns {column!r}"
            if any(map(has_surrogates, names)):
                problem += ", and its header is in another encoding than the one that is set"
            shown = [with_escapes(name) for name in names]
            nearest = did_you_mean(column, shown) if not count else ""
            raise InputDataError(f"{uri}: {problem} (it has: {', '.join(shown)}){nearest}; {advice}")
    return [names.index(column) for column in wanted]
