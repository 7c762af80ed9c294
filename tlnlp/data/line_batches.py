"""Turn lines of JSON Lines and CSV, in Arrow batches, into batches of records: Spark's Python workers run this."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import pyarrow as pa

from tlnlp.data.csv_records import CsvDialect
from tlnlp.data.json_lines import WRONG_ENCODING, RawFloat, parse_line, parse_text
from tlnlp.data.rows import csv_rows
from tlnlp.data.text import has_surrogates, without_surrogates
from tlnlp.errors import InputDataError

# Columns of the input: the bytes of a line without its end, the URI of its file, and the place of the split in it.
LINE, SOURCE, START = "_tlnlp_line", "_tlnlp_source", "_tlnlp_start"
TYPES = {"string": pa.string(), "bigint": pa.int64(), "double": pa.float64(), "boolean": pa.bool_()}
# Faults, as the quarantine names them.
MALFORMED, NOT_TEXT, NO_ID = "malformed_record", "not_text", "missing_id"
_ROWS, _CHARS = 2048, 16 << 20

Values = list[object]


@dataclass(frozen=True)
class LinePlan:
    """State how lines become records.

    Fields:
        format: ``json`` or ``csv``.
        dialect: how CSV is written.
        id_column: the column of ids.
        text_column: the column of texts.
        columns: name and type (a key of ``TYPES``) of each column that is read from the lines.
        passed: names of the columns that each record takes over from its line; ``SOURCE`` is one of them.
        fault: name of the column of faults.
        names: CSV whose files are read in several splits: the columns that every file has to have.
    """

    format: str
    dialect: CsvDialect
    id_column: str
    text_column: str
    columns: tuple[tuple[str, str], ...]
    passed: tuple[str, ...]
    fault: str
    names: tuple[str, ...] = ()


def parse_batches(batches: Iterator[pa.RecordBatch], plan: LinePlan) -> Iterator[pa.RecordBatch]:
    """Yield batches of records, with the columns ``plan.columns``, ``plan.fault`` and ``plan.passed``.

    Args:
        batches: the columns ``LINE``, ``SOURCE``, ``START`` and ``plan.passed``. Lines of one split stand together, in
            their order; of CSV without ``plan.names``, all lines of one file do.

    Raises:
        InputDataError: a CSV file has not the columns that it has to have.
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
    names = [*(name for name, _ in plan.columns), plan.fault, *plan.passed]
    types = [*(TYPES[kind] for _, kind in plan.columns), pa.string(), *passed_types]
    columns = zip(*rows, strict=True)
    return pa.RecordBatch.from_arrays(
        [pa.array(column, kind) for column, kind in zip(columns, types, strict=True)], names
    )


def _json_records(lines: Iterable[tuple[Any, ...]], plan: LinePlan) -> Iterator[Values]:
    wanted = [name for name, _ in plan.columns]
    nothing: dict[str, object] = dict.fromkeys(wanted)
    for line, _, _, *passed in lines:
        if not line.strip():
            continue
        record, fault = parse_line(line, wanted), None
        if not isinstance(record, dict):
            fault = NOT_TEXT if record == WRONG_ENCODING else MALFORMED
            readable = parse_text(line.decode("utf-8", "replace"), ()) if record == WRONG_ENCODING else nothing
            record = readable if isinstance(readable, dict) else nothing
        values: Values = []
        for name, kind in plan.columns:
            value, problem = _json_value(record.get(name), kind, name == plan.text_column)
            fault = fault or problem
            values.append(value)
        values, no_text = _checked(values, plan)
        yield [*values, fault or no_text, *passed]


def _json_value(value: object, kind: str, is_text: bool) -> tuple[object, str | None]:
    """Return the value as the type of its column, and a fault if it has another type."""
    if value is None:
        return None, None
    if kind == "string":
        if isinstance(value, str):
            return value, None
        if is_text:
            return None, NOT_TEXT
        return (value.raw if isinstance(value, RawFloat) else _compact(value)), None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    fits = {
        "boolean": isinstance(value, bool),
        "bigint": is_number and isinstance(value, int) and -(1 << 63) <= value < 1 << 63,
        "double": is_number and not (isinstance(value, int) and abs(value) > 1 << 1023),
    }
    return (value, None) if fits[kind] else (None, MALFORMED)


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _csv_records(lines: Iterable[tuple[Any, ...]], plan: LinePlan) -> Iterator[Values]:
    wanted = [name for name, _ in plan.columns]
    for (uri, start), group in groupby(lines, lambda line: (line[1], line[2] if plan.names else 0)):
        last: list[object] = []  # The passed values of the line that was read last.
        ended = _ended(group, last)
        try:
            for row in csv_rows(uri, ended, wanted, plan.dialect, plan.names, has_start=start == 0):
                if row.number:
                    values, no_text = _checked(list(row.values) or [None] * len(wanted), plan)
                    fault = MALFORMED if row.fault is not None and row.fault != WRONG_ENCODING else None
                    yield [*values, fault or no_text, *last]
                elif last:
                    raise InputDataError(f"{uri}: {(row.fault or ('', ''))[1]}")
        except InputDataError as error:
            problem = str(error).partition(";")[0]
            raise InputDataError(f"{problem}; all files must have the columns that the settings name") from error


def _ended(lines: Iterable[tuple[Any, ...]], last: list[object]) -> Iterator[bytes]:
    for line, _, _, *passed in lines:
        last[:] = passed
        yield line + b"\n"


def _checked(values: Values, plan: LinePlan) -> tuple[Values, str | None]:
    """Return values that are UTF-8, and the fault of a record whose text or id holds something that is no character."""
    broken = {place for place, value in enumerate(values) if isinstance(value, str) and has_surrogates(value)}
    if not broken:
        return values, None
    names = {plan.columns[place][0] for place in broken}
    cleaned = [without_surrogates(str(value)) if place in broken else value for place, value in enumerate(values)]
    if plan.text_column in names:
        return cleaned, NOT_TEXT
    return cleaned, NO_ID if plan.id_column in names else None
