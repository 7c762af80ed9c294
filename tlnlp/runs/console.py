"""Print a command's result on stdout: tables for people, or exactly one JSON document."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table


def print_json(value: object) -> None:
    """Print ``value`` as one JSON document and a newline; where stdout takes no UTF-8, with escapes of JSON."""
    json.dump(value, sys.stdout, ensure_ascii="utf" not in (sys.stdout.encoding or "utf-8").lower())
    sys.stdout.write("\n")


def print_rows(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print a table with a header row."""
    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*[_cell(value) for value in row])
    _console().print(table)


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
        print(f"{name.replace('_', ' '):<{width}}  {_cell(value)}")


def heading(text: str) -> None:
    """Print an empty line and a heading."""
    _console().print(f"\n[bold]{text}[/bold]", highlight=False)


def _console() -> Console:
    # Output to a pipe or file is neither wrapped nor coloured.
    return Console() if sys.stdout.isatty() else Console(width=1000, no_color=True, highlight=False)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, list | tuple):
        return ", ".join(_cell(inner) for inner in value)
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_cell(inner)}" for key, inner in value.items())
    return str(value)
