"""Find which types the values of JSON Lines have, so that a column gets a type that holds all of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import pyarrow as pa

from tlnlp.data.encodings import UTF8
from tlnlp.data.json_lines import parse_line
from tlnlp.data.line_batches import LINE

# The columns of the result.
NAME, TYPE = "name", "type"
NULL = "null"
# Larger integers are not all doubles.
_EXACT = 1 << 53
_OTHERS = 1000


def scan_batches(
    batches: Iterator[pa.RecordBatch], columns: frozenset[str], encoding: str = UTF8
) -> Iterator[pa.RecordBatch]:
    """Yield the types that the values of each column have, as rows of ``NAME`` and ``TYPE``.

    The types are ``boolean``, ``bigint``, ``double``, ``string``, ``null``, and ``large`` for an integer that is not a
    double. Other columns, of which at most 1,000 are named, have the type ``null``.

    Args:
        batches: the column ``LINE``: the bytes of a line.
        columns: the names of the columns.
        encoding: of the lines.
    """
    found: dict[str, set[str]] = {}
    for batch in batches:
        for line in batch.column(LINE).to_pylist():
            record, _ = parse_line(line, (), encoding)
            if record is not None:
                _add(record, columns, found)
    rows = [(name, kind) for name, kinds in found.items() for kind in sorted(kinds)]
    names, kinds = [name for name, _ in rows], [kind for _, kind in rows]
    yield pa.RecordBatch.from_arrays([pa.array(names, pa.string()), pa.array(kinds, pa.string())], [NAME, TYPE])


def column_type(kinds: Iterable[str]) -> str:
    """Return the narrowest type that holds the values of all these types: ``string``, if there is no other."""
    kinds = set(kinds) - {NULL}
    if kinds == {"boolean"}:
        return "boolean"
    if kinds and kinds <= {"bigint", "large"}:
        return "bigint"
    return "double" if kinds and kinds <= {"bigint", "double"} else "string"


def _add(record: Mapping[str, object], columns: frozenset[str], found: dict[str, set[str]]) -> None:
    for name in record:
        if name in columns:
            found.setdefault(name, set()).add(_type_of(record[name]))
        elif len(found) < _OTHERS and name.isprintable():
            found.setdefault(name, {NULL})


def _type_of(value: object) -> str:
    if value is None:
        return NULL
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "bigint" if abs(value) <= _EXACT else "large" if -(1 << 63) <= value < 1 << 63 else "string"
    return "double" if isinstance(value, float) else "string"
