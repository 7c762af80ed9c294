"""Turn lines of JSON Lines and CSV, in Arrow batches, into batches of records: Spark's Python workers run this."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import pyarrow as pa

from tlnlp.data.csv_records import CsvDialect
from tlnlp.data.encodings import UTF8, checked_lines
from tlnlp.data.json_lines import WRONG_ENCODING, parse_line
from tlnlp.data.rows import csv_rows
from tlnlp.data.text import has_surrogates, with_escapes, without_surrogates
from tlnlp.data.values import value_text
from tlnlp.errors import InputDataError

# Columns of the input: the bytes of a line without its end, the URI of its file, and the place of the split in it in
# bytes, or WHOLE for a file that is not split.
LINE, SOURCE, START = "_tlnlp_line", "_tlnlp_source", "_tlnlp_start"
WHOLE = -1
# Faults, as the quarantine names them.
MALFORMED, NOT_TEXT, NO_ID = "malformed_record", "not_text", "missing_id"
_ROWS, _CHARS = 2048, 16 << 20
_ADVICE = "all files must have the columns that the settings name"
_HALF_A_PAIR = "half a surrogate pair, which is no character; write the record again"

Values = list[object]


@dataclass(frozen=True)
class LinePlan:
    """State how lines become records.

    Fields:
        format: ``json`` or ``csv``.
        dialect: how CSV is written.
        id_column: the column of ids.
        text_column: the column of texts.
        columns: name of each column that is read from the lines; its values become text.
        passed: names of the columns that each record takes over from its line; ``SOURCE`` is one of them.
        fault: name of the column of faults: a reason of the quarantine, or null.
        detail: name of the column that says where the faulty record stands, and what is wrong.
        names: CSV that is read in splits: the columns of every file that has several. Empty: all lines of a file are
            read together.
        encoding: of the text.
    """

    format: str
    dialect: CsvDialect
    id_column: str
    text_column: str
    columns: tuple[str, ...]
    passed: tuple[str, ...]
    fault: str
    detail: str
    names: tuple[str, ...] = ()
    encoding: str = UTF8


def parse_batches(batches: Iterator[pa.RecordBatch], plan: LinePlan) -> Iterator[pa.RecordBatch]:
    """Yield batches of records, with the columns ``plan.columns``, ``fault``, ``detail`` and ``passed`` of the plan.

    Args:
        batches: the columns ``LINE``, ``SOURCE``, ``START`` and ``plan.passed``. Lines of one split stand together, in
            their order; of CSV without ``plan.names``, all lines of one file do.

    Raises:
        InputDataError: a CSV file has not the columns that it has to have, or a file cannot be read by lines.
    """
    passed_types: list[pa.DataType] = []
    records = (_csv_records if plan.format == "csv" else _json_records)(_lines(batches, plan, passed_types), plan)
    rows: list[Values] = []
    chars = 0
    for row in records:
        rows.append(row)
        chars += sum(len(value) for value in row if isinstance(value, str))
        if len(rows) >= _ROWS or chars >= _CHARS:
            yield _batch(rows, plan, passed_types)
            rows, chars = [], 0
    if rows:
        yield _batch(rows, plan, passed_types)


def _lines(
    batches: Iterator[pa.RecordBatch], plan: LinePlan, passed_types: list[pa.DataType]
) -> Iterator[tuple[Any, ...]]:
    for batch in batches:
        passed_types[:] = [batch.schema.field(name).type for name in plan.passed]
        yield from zip(*(batch.column(name).to_pylist() for name in (LINE, SOURCE, START, *plan.passed)), strict=True)


def _batch(rows: list[Values], plan: LinePlan, passed_types: list[pa.DataType]) -> pa.RecordBatch:
    names = [*plan.columns, plan.fault, plan.detail, *plan.passed]
    types = [pa.string()] * (len(plan.columns) + 2) + passed_types
    columns = zip(*rows, strict=True)
    return pa.RecordBatch.from_arrays(
        [pa.array(column, kind) for column, kind in zip(columns, types, strict=True)], names
    )


def _json_records(lines: Iterable[tuple[Any, ...]], plan: LinePlan) -> Iterator[Values]:
    for (uri, start), group in groupby(lines, lambda line: (line[1], line[2])):
        last: list[object] = []
        ended = _ended(group, last)
        if start <= 0:
            ended = checked_lines(uri, ended, "json")
        for number, line in enumerate(ended, start=1):
            if line.strip():
                yield [*_json_record(line, f"line {number}{_after(start)}", plan), *last]


def _json_record(line: bytes, place: str, plan: LinePlan) -> Values:
    """Return the values of a line, its fault and the detail of the fault."""
    record, problem = parse_line(line, plan.columns, plan.encoding)
    values: Values = []
    fault, detail = None, ""
    if problem is not None:
        fault, detail = _reason(problem[0]), problem[1]
    for name in plan.columns:
        value, other = _json_text((record or {}).get(name), name == plan.text_column)
        if other and not fault:
            fault, detail = other, f"column {with_escapes(name)!r} holds what cannot be read as text"
        values.append(value)
    return _checked(values, fault, place, detail, plan)


def _json_text(value: object, is_text: bool) -> tuple[str | None, str | None]:
    """Return the value as text, and its fault: a text must be one, and any other value must not be too deep."""
    if value is None or isinstance(value, str):
        return value, None
    if is_text:
        return None, NOT_TEXT
    try:
        return value_text(value), None
    except RecursionError:
        return None, MALFORMED


def _csv_records(lines: Iterable[tuple[Any, ...]], plan: LinePlan) -> Iterator[Values]:
    for (uri, start), group in groupby(lines, lambda line: (line[1], line[2] if plan.names else WHOLE)):
        last: list[object] = []  # The passed values of the line that was read last.
        ended = _ended(group, last)
        keys = plan.dialect, plan.encoding, () if start == WHOLE else plan.names
        for row in csv_rows(uri, ended, plan.columns, *keys, has_start=start <= 0, advice=_ADVICE):
            if row.number:
                kind, detail = row.fault or (None, "")
                place = f"row {row.number} (line {row.line}){_after(start)}"
                values = list(row.values) or [None] * len(plan.columns)
                yield [*_checked(values, _reason(kind), place, detail, plan), *last]
            elif last:
                raise InputDataError(f"{uri}: {(row.fault or ('', ''))[1]}")


def _ended(lines: Iterable[tuple[Any, ...]], last: list[object]) -> Iterator[bytes]:
    for line, _, _, *passed in lines:
        last[:] = passed
        yield line + b"\n"


def _after(start: int) -> str:
    return f", counted from the first line after byte {start} of the file" if start > 0 else ""


def _reason(kind: str | None) -> str | None:
    return None if kind is None else NOT_TEXT if kind == WRONG_ENCODING else MALFORMED


def _checked(values: Values, fault: str | None, place: str, detail: str, plan: LinePlan) -> Values:
    """Return values that are UTF-8, the fault of the record, and the place and the detail of the fault.

    An id or a text that holds something that is no character is a fault. Such an id is shown with escapes.
    """
    broken = {number for number, value in enumerate(values) if isinstance(value, str) and has_surrogates(value)}
    if not broken:
        return [*values, fault, f"{place}: {detail}" if fault else None]
    names = {plan.columns[number] for number in broken}
    cleaned = list(values)
    for number in broken:
        show = with_escapes if plan.columns[number] == plan.id_column else without_surrogates
        cleaned[number] = show(str(values[number]))
    if fault in (None, NOT_TEXT) and plan.text_column in names:
        fault = NOT_TEXT
    elif fault in (None, NOT_TEXT) and plan.id_column in names:
        fault = NO_ID
    return [*cleaned, fault, f"{place}: {detail or _HALF_A_PAIR}" if fault else None]
