"""Print the rows of a query, batch by batch, in the format that the user chose.

========  ======================================================================================================
table     for people: null is ``NULL``; control characters are escaped; a terminal shows the first rows only
csv       RFC 4180: null is an empty field, an empty text is ``""``; into a pipe or file, texts are unchanged
jsonl     one JSON object a line
json      one JSON document: a list of objects
========  ======================================================================================================

``tlnlp.warehouse.query_values`` has the form of each type.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from tlnlp.errors import counted
from tlnlp.runs.console import print_cells, visible, visible_json
from tlnlp.runs.progress import say
from tlnlp.warehouse.query_values import csv_line, json_text, rows_of, value_text

if TYPE_CHECKING:
    from tlnlp.warehouse.query import QueryStream

Rows = Iterator[tuple[Any, ...]]

TERMINAL_ROWS = 1_000
"""Rows of a table that a terminal shows."""


def print_query(stream: QueryStream, form: str) -> None:
    """Print the rows of a query; the first of them are computed before anything is printed.

    Args:
        form: a key of ``FORMATS``.
    """
    rows = (row for batch in stream.batches for row in rows_of(batch))
    first = list(islice(rows, 1))
    FORMATS[form](stream.columns, chain(first, rows))


def _print_table(columns: tuple[str, ...], rows: Rows) -> None:
    shown = islice(rows, TERMINAL_ROWS) if sys.stdout.isatty() else rows
    print_cells(columns, (["NULL" if value is None else value_text(value) for value in row] for row in shown))
    if left_out := sum(1 for _ in rows):
        say(f"{counted(left_out, 'more row')} not shown: take --format csv or jsonl, or a LIMIT, for a part of them")


def _print_csv(columns: tuple[str, ...], rows: Rows) -> None:
    shown = visible if sys.stdout.isatty() else str
    for line in chain([columns], rows):
        sys.stdout.write(csv_line(line, shown))


def _print_jsonl(columns: tuple[str, ...], rows: Rows) -> None:
    for row in rows:
        sys.stdout.write(_object(columns, row) + "\n")


def _print_json(columns: tuple[str, ...], rows: Rows) -> None:
    before = "["
    for row in rows:
        sys.stdout.write(before + _object(columns, row))
        before = ", "
    sys.stdout.write("[]\n" if before == "[" else "]\n")


def _object(columns: tuple[str, ...], row: tuple[Any, ...]) -> str:
    return visible_json(json_text(dict(zip(columns, row, strict=True))))


FORMATS: dict[str, Callable[[tuple[str, ...], Rows], None]] = {
    "table": _print_table,
    "csv": _print_csv,
    "jsonl": _print_jsonl,
    "json": _print_json,
}
