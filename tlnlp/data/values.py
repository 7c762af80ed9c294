"""Write a value as text: the one rule for ids, labels and kept columns, in every format and in every engine.

- Text stays as it is written. All values of CSV, and those in the names of folders, are text.
- A number is written as its value, in decimal digits without needless zeros: ``12``, ``12.0`` and ``12.00`` are ``12``,
  and ``10.50`` is ``10.5``. So an id is the same text whether its column holds integers, decimals or floats; pandas
  turns integers with a missing value into floats. NaN is no value.
- A boolean is ``true`` or ``false``.
- A date is ``2026-01-31``; a time is ``2026-01-31 10:30:00.25``, in UTC.
- An object or a list is compact JSON.
"""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from decimal import Decimal

from tlnlp.data.json_lines import RawFloat, compact

# A number with more digits before or after the point is written with an exponent.
_PLAIN_DIGITS = 400


def value_text(value: object) -> str | None:
    """Return a value as text (see the module); None for null and NaN."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, RawFloat):
        return _decimal_text(Decimal(value.raw))
    if isinstance(value, float):
        return None if math.isnan(value) else _decimal_text(Decimal(repr(float(value))))
    if isinstance(value, Decimal):
        return None if value.is_nan() else _decimal_text(value)
    if isinstance(value, datetime):
        return _time_text(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, dict | list):
        return compact(value)
    return str(value)


def _decimal_text(value: Decimal) -> str:
    if not value.is_finite():
        return "Infinity" if value > 0 else "-Infinity"
    if not value:
        return "0"
    exponent = value.as_tuple().exponent
    if abs(value.adjusted()) > _PLAIN_DIGITS or abs(int(exponent)) > _PLAIN_DIGITS:
        return str(value)
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _time_text(value: datetime) -> str:
    if value.tzinfo is not None:
        value = value.astimezone(UTC).replace(tzinfo=None)
    text = value.isoformat(sep=" ")
    return text.rstrip("0") if value.microsecond else text
