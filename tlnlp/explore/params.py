"""Read the parameters of a page's address, each with its type, and write the addresses of other pages."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from urllib.parse import urlencode

from tlnlp.errors import UsageError

LONGEST = 4_000
"""So many characters of a text in an address are read."""


class Params:
    """The parameters of one address. A parameter that is missing or empty is None.

    Methods raise UsageError where a value is not of the type.
    """

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self._given = dict(pairs)
        self._values = {name: value for name, value in self._given.items() if value}

    def exact(self, name: str) -> str | None:
        """Return a text as it stands in the address, an empty one too; None where the parameter is missing."""
        return self._given.get(name)

    def text(self, name: str) -> str | None:
        """Return a text."""
        value = self._values.get(name)
        if value is not None and len(value) > LONGEST:
            raise UsageError(f"{name}: the value in the address has more than {LONGEST:,} characters; shorten it")
        return value

    def day(self, name: str) -> date | None:
        """Return a day."""
        value = self._values.get(name)
        if value is None:
            return None
        try:
            if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", value, re.ASCII):
                raise ValueError
            return date.fromisoformat(value)
        except ValueError as error:
            raise UsageError(f"{name}: the address holds no day; write it as in {name}=2026-01-31") from error

    def share(self, name: str) -> float | None:
        """Return a number from 0 to 1."""
        value = self._values.get(name)
        if value is None:
            return None
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not 0 <= number <= 1:
            raise UsageError(f"{name}: the address holds no number from 0 to 1; write it as in {name}=0.5")
        return number

    def whole(self, name: str) -> int | None:
        """Return a positive whole number."""
        value = self._values.get(name)
        if value is None:
            return None
        if not re.fullmatch(r"[1-9]\d{0,8}", value, re.ASCII):
            raise UsageError(f"{name}: the address holds no whole number; write it as in {name}=3")
        return int(value)

    def choice(self, name: str, choices: Sequence[str], default: str) -> str:
        """Return one of ``choices``; ``default`` where the parameter is missing."""
        value = self._values.get(name, default)
        if value not in choices:
            raise UsageError(f"{name}: the address holds none of its values; write one of {', '.join(choices)}")
        return value

    def link(self, path: str, **changes: object) -> str:
        """Return the address of a page with these parameters, changed by ``changes``; None takes one out."""
        return address(path, self._values | changes)


def address(path: str, values: Mapping[str, object]) -> str:
    """Return the address of a page with these parameters; those that are None are left out."""
    pairs = {name: value for name, value in values.items() if value is not None and value != ""}
    return f"{path}?{urlencode(pairs, errors='replace')}" if pairs else path
