"""Parse the lines of JSON Lines: one object a line, in UTF-8."""

from __future__ import annotations

import json
from collections.abc import Collection

WRONG_ENCODING = ("wrong encoding", "not UTF-8; convert the file (iconv -t UTF-8)")
UNREADABLE_ROW = "unreadable row"


class RawFloat(float):
    """A number with a fraction or an exponent, and how it is written."""

    raw: str

    def __new__(cls, raw: str) -> RawFloat:
        """Parse a number."""
        number = super().__new__(cls, raw)
        number.raw = raw
        return number


class _Repeated(dict[str, object]):
    """An object that has a key more than once; ``keys_twice`` are these keys."""

    keys_twice: frozenset[str]


def parse_line(line: bytes, wanted: Collection[str]) -> dict[str, object] | tuple[str, str]:
    """Return the object of a line, or the kind and the detail of its fault.

    Args:
        wanted: keys that must not occur twice; which value is meant would be unknown.
    """
    try:
        return parse_text(line.decode(), wanted)
    except UnicodeDecodeError:
        return WRONG_ENCODING


def parse_text(line: str, wanted: Collection[str]) -> dict[str, object] | tuple[str, str]:
    """Return the object of a decoded line, or the kind and the detail of its fault; see ``parse_line``."""
    try:
        # A byte order mark begins a line where files were put together.
        record = _DECODER.decode(line.removeprefix("\ufeff"))
    except (ValueError, RecursionError):
        return UNREADABLE_ROW, "the line is not JSON; the file may be truncated"
    if not isinstance(record, dict):
        return UNREADABLE_ROW, "the line is not a JSON object"
    if isinstance(record, _Repeated) and (twice := record.keys_twice.intersection(wanted)):
        return UNREADABLE_ROW, f"the line has the key {min(twice)!r} twice; remove one"
    return record


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    record = dict(pairs)
    if len(record) == len(pairs):
        return record
    repeated, names = _Repeated(record), [name for name, _ in pairs]
    repeated.keys_twice = frozenset(name for name in record if names.count(name) > 1)
    return repeated


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_float=RawFloat)
