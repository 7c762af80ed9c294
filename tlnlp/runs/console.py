"""Print a command's result on stdout: tables for people, or exactly one JSON document.

What is printed is data: no markup in it has a meaning, nothing of it is cut, and a character that a terminal would obey
instead of showing it is escaped.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, islice
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tlnlp.errors import masked

_MEASURED_ROWS = 1_000  # The width of a column is that of its widest cell in so many rows.
_LEAST_WIDTH = 6  # In narrower columns, folded cells are no longer readable.
# Control characters (C0 with ESC, DEL, C1), line separators, marks that change the direction of text, half surrogates.
_OBEYED = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def visible(text: str) -> str:
    """Return the text with each character that a terminal would obey as an escape, such as ``\\n`` or ``\\x1b``."""
    return _OBEYED.sub(lambda found: _SHORT.get(found[0]) or _escape(found[0], "\\x%02x"), text)


def visible_lines(text: str) -> str:
    """Return the text as ``visible`` does, but with its line breaks."""
    return "\n".join(map(visible, text.split("\n")))


def visible_json(document: str) -> str:
    """Return a JSON document, which then holds the same values, with escapes in its strings for such characters."""
    return _OBEYED.sub(lambda found: _escape(found[0], "\\u%04x"), document)


def _escape(character: str, short: str) -> str:
    return (short if ord(character) < 0x100 else "\\u%04x") % ord(character)


def print_json(value: object, is_data: bool = False) -> None:
    """Print ``value`` as one JSON document and a newline.

    Where stdout takes no UTF-8, other characters are escapes of JSON.

    Args:
        is_data: whether its strings are data of the user, which stay as they are; else secrets in them are masked.
    """
    to_ascii = "utf" not in (sys.stdout.encoding or "utf-8").lower()
    sys.stdout.write(visible_json(json.dumps(value if is_data else _masked(value), ensure_ascii=to_ascii)))
    sys.stdout.write("\n")


def _masked(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _masked(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_masked(inner) for inner in value]
    return masked(value) if isinstance(value, str) else value


def print_rows(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print a table with a header row, of values for people: a number has four digits."""
    print_cells(columns, ([_cell(value) for value in row] for row in rows))


def print_cells(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table with a header row, of texts; a pipe or file gets each row in one line, when it comes.

    A terminal gets all rows at once; there, a cell that is too wide takes several lines.
    """
    lines = ([visible(cell) for cell in row] for row in rows)
    header = [visible(column) for column in columns]
    if sys.stdout.isatty():
        _print_on_terminal(header, list(lines))
        return
    first = list(islice(lines, _MEASURED_ROWS))
    widths = _widths(header, first)
    for line in chain([header], first, lines):
        sys.stdout.write(_line(line, widths))


def _print_on_terminal(header: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    console = Console()
    if len(header) * (_LEAST_WIDTH + 1) > console.width:
        widths = _widths(header, lines)
        for line in (header, *lines):
            sys.stdout.write(_line(line, widths))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in header:
        table.add_column(Text(column), overflow="fold")
    for line in lines:
        table.add_row(*map(Text, line))
    console.print(table)


def _widths(header: Sequence[str], lines: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(cell_len, column)) for column in zip(header, *lines, strict=True)]


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [cell + " " * (width - cell_len(cell)) for cell, width in zip(cells, widths, strict=True)]
    return " ".join([*padded[:-1], *cells[-1:]]) + "\n"


def print_matrix(title: str, matrix: Mapping[str, Mapping[str, Any]]) -> None:
    """Print a heading, and a table of rows by name whose columns are the names of the first row."""
    heading(title)
    columns = list(next(iter(matrix.values()), {}))
    print_rows(["", *columns], [[name, *row.values()] for name, row in matrix.items()])


def print_facts(facts: Mapping[str, Any]) -> None:
    """Print one line for each name and value; a nested mapping is joined on its line."""
    width = max((len(name) for name in facts), default=0)
    for name, value in facts.items():
        if isinstance(value, Mapping):
            value = ", ".join(f"{key} {_cell(inner)}" for key, inner in value.items())
        print(f"{visible(name.replace('_', ' ')):<{width}}  {visible(_cell(value))}")


def heading(text: str) -> None:
    """Print an empty line and a heading."""
    print()
    if sys.stdout.isatty():
        Console().print(Text(visible(text), style="bold"))
    else:
        print(visible(text))


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, list | tuple):
        return ", ".join(_cell(inner) for inner in value)
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_cell(inner)}" for key, inner in value.items())
    return masked(str(value))
