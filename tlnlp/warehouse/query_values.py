"""Give each value of a query its form: as text in a table or CSV, and as JSON. No form rounds or cuts a value.

===================  ==========================================  =================================
type                 text                                        JSON
===================  ==========================================  =================================
null                 (each format has its own sign)              null
boolean              true, false                                 true, false
integer, decimal     all digits: 2.50                            the same, as a number
float                shortest digits that give the same value    the same, as a number
NaN, infinities      NaN, Infinity, -Infinity                    the same, as a string
date, time           ISO 8601; infinity, -infinity               the same, as a string
interval             ISO 8601: P14M3DT4.5S                       the same, as a string
binary               hexadecimal digits                          the same, as a string
list, struct, map    JSON                                        array, object
===================  ==========================================  =================================
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import date, time, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa

_QUOTED = re.compile('[,"\r\n]|^\\s|\\s$|^$')


def rows_of(batch: pa.RecordBatch) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a batch as Python values, for ``value_text``, ``json_text`` and ``json_value``."""
    yield from zip(*(_values(batch.column(number)) for number in range(batch.num_columns)), strict=True)


def value_text(value: Any) -> str:
    """Return the text of a value that is not null."""
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple | dict) and not _is_interval(value):
        return json_text(value)
    plain = _text(value)
    return plain if isinstance(plain, str) else json.dumps(plain)


def json_text(value: Any) -> str:
    """Return a value as JSON."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_quoted(_key(key))}: {json_text(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple) and not _is_interval(value):
        return "[" + ", ".join(json_text(inner) for inner in value) + "]"
    if isinstance(value, Decimal):
        return format(value, "f")
    return _quoted(_text(value))


def json_value(value: Any) -> Any:
    """Return a value in JSON types: as ``json_text`` writes it, but a decimal is an int or a float."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, dict):
        return {_key(key): json_value(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple) and not _is_interval(value):
        return [json_value(inner) for inner in value]
    return _text(value)


def csv_line(values: Iterable[Any], shown: Callable[[str], str] = str) -> str:
    """Return values as a line of CSV (RFC 4180): null is an empty field, and an empty text is ``""``.

    Args:
        values: the values of a row.
        shown: changes the text of each value before it is quoted.
    """
    return ",".join("" if value is None else _field(shown(value_text(value))) for value in values) + "\n"


def _field(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if _QUOTED.search(text) else text


def _text(value: Any) -> Any:
    """Return a value other than a list or a mapping as JSON has it, and a decimal as text."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, date | time):  # datetime is a subclass of date
        return value.isoformat()
    if isinstance(value, timedelta):
        return str(value)
    if isinstance(value, bytes):
        return value.hex()
    if _is_interval(value):
        seconds = f"{Decimal(value.nanoseconds) / 1_000_000_000:f}"
        return f"P{value.months}M{value.days}DT{seconds.rstrip('0').rstrip('.') if '.' in seconds else seconds}S"
    return value


def _is_interval(value: Any) -> bool:
    return isinstance(value, pa.MonthDayNano)


def _key(key: Any) -> str:
    return key if isinstance(key, str) else value_text(key)


def _quoted(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _values(column: pa.Array) -> list[Any]:
    if pa.types.is_float32(column.type) or pa.types.is_float16(column.type):
        # As a Python float, 0.1 would have the digits of the nearest single-precision number.
        return [None if text is None else float(text) for text in column.cast(pa.string()).to_pylist()]
    return [_value(value) for value in column]


def _value(value: pa.Scalar) -> Any:
    try:
        return value.as_py(maps_as_pydicts="lossy")
    except (OverflowError, ValueError):
        return _beyond_python(value)


def _beyond_python(value: pa.Scalar) -> Any:
    """Return a value that holds a date or time which Python's types do not reach, with that one as text."""
    if not value.is_valid:
        return None
    if isinstance(value, pa.MapScalar):
        return {_key(_value(entry["key"])): _value(entry["value"]) for entry in value.values}
    if isinstance(value, pa.StructScalar):
        return {name: _value(inner) for name, inner in value.items()}
    if isinstance(value, pa.ListScalar):
        return [_value(inner) for inner in value]
    text = str(value.cast(pa.string()).as_py())
    if "out of range" in text:  # DuckDB stores its infinities as the largest numbers.
        return "infinity" if value.value > 0 else "-infinity"
    return text.replace(" ", "T")
