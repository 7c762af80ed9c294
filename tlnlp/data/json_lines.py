"""Parse the lines of JSON Lines: one object a line."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable

from tlnlp.data.encodings import UTF8, decode_line
from tlnlp.data.text import has_surrogates

WRONG_ENCODING = "wrong encoding"
UNREADABLE_ROW = "unreadable row"

Fault = tuple[str, str]


class RawFloat(float):
    """A number with a fraction or an exponent, or one of thousands of digits, and how it is written.

    It is infinite where no double is so large.
    """

    raw: str

    def __new__(cls, raw: str) -> RawFloat:
        """Parse a number."""
        number = super().__new__(cls, raw)
        number.raw = raw
        return number


class _Repeated(dict[str, object]):
    """An object that has a key more than once; ``keys_twice`` are these keys."""

    keys_twice: frozenset[str]


def wrong_encoding(encoding: str = UTF8) -> Fault:
    """Return the kind and the detail of the fault of a record whose bytes are not of the encoding."""
    return WRONG_ENCODING, f"not {encoding.upper()}; convert the file (iconv -t UTF-8), or set the key encoding"


def parse_line(
    line: bytes, wanted: Collection[str], encoding: str = UTF8
) -> tuple[dict[str, object] | None, Fault | None]:
    """Return the object of a line, and the kind and the detail of its fault; one of both may be None.

    Args:
        wanted: keys that must not occur twice, since it would be unknown which value is meant, and whose values must be
            of the encoding. In other keys, and in the values of a record with the fault ``WRONG_ENCODING``, other bytes
            stand as unpaired surrogates (see ``decode_line``).
    """
    is_decoded = True
    try:
        text = line.decode(encoding)
    except UnicodeDecodeError:
        text, is_decoded = decode_line(line, encoding), False
    # A byte order mark begins a line where files were put together.
    record = _parse(text.removeprefix("\ufeff"), _DECODER)
    if not isinstance(record, dict):
        return None, (UNREADABLE_ROW, record)
    if isinstance(record, _Repeated) and (twice := record.keys_twice.intersection(wanted)):
        return None, (UNREADABLE_ROW, f"the line has the key {min(twice)!r} twice; remove one")
    if not is_decoded and _is_broken(record.get(name) for name in wanted):
        return record, wrong_encoding(encoding)
    return record, None


def compact(value: object) -> str:
    """Return a value as JSON without spaces.

    Raises:
        RecursionError: the value is nested too deeply.
    """
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _is_broken(values: Iterable[object]) -> bool:
    try:
        return any(has_surrogates(value if isinstance(value, str) else compact(value)) for value in values)
    except RecursionError:
        return True


def _parse(text: str, decoder: json.JSONDecoder) -> dict[str, object] | str:
    """Return the object of a text, or why there is none."""
    try:
        record = decoder.decode(text)
    except json.JSONDecodeError:
        return "the line is not one JSON object; check whether it was cut off"
    except RecursionError:
        return "the line is nested too deeply"
    except ValueError:  # Python refuses integers of thousands of digits.
        return _parse(text, _DECODER_OF_LONG_NUMBERS)
    return record if isinstance(record, dict) else "the line is not a JSON object"


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    record = dict(pairs)
    if len(record) == len(pairs):
        return record
    repeated = _Repeated(record)
    repeated.keys_twice = frozenset(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
    return repeated


def _number(raw: str) -> int | RawFloat:
    return int(raw) if len(raw) < 640 else RawFloat(raw)  # 640 is the lowest limit that Python can be set to.


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_float=RawFloat)
_DECODER_OF_LONG_NUMBERS = json.JSONDecoder(object_pairs_hook=_object, parse_float=RawFloat, parse_int=_number)
