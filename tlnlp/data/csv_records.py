"""Split the lines of a CSV file into records, as RFC 4180 says, and say which records break its rules.

A quoted field ends at its closing quote, and a delimiter or the end of the line must follow. A quote inside an unquoted
field is an ordinary character. Blank lines are passed over.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

# A field with more characters is a fault: it is far more likely that a quote was never closed.
FIELD_CHARS = 64 << 20


class CsvKeys(Protocol):
    """The settings of CSV, whose keys are the fields of ``CsvDialect``."""

    def model_dump(self) -> dict[str, Any]:
        """Return the values by key."""
        ...


@dataclass(frozen=True)
class CsvDialect:
    """State how a CSV file is written.

    Fields:
        header: whether the first record holds the names of the columns. Without it they are ``_c0``, ``_c1``, ...
        delimiter: the character between two fields.
        quote: the character around a quoted field; empty: no field is quoted.
        escape: the character before a quote inside a quoted field; the quote itself, or another one, which then stands
            before itself too. Empty: a quoted field holds no quote.
        multiline: whether quoted fields may hold line breaks.
    """

    header: bool = True
    delimiter: str = ","
    quote: str = '"'
    escape: str = '"'
    multiline: bool = True

    @classmethod
    def of(cls, settings: CsvKeys) -> CsvDialect:
        """Return the dialect that the settings of a job state."""
        return cls(**settings.model_dump())


DEFAULT_DIALECT = CsvDialect()


@dataclass(frozen=True)
class CsvRecord:
    """Hold the fields of one record, and the number of its first line, from 1; None in place of fields is a fault.

    Bytes that are not UTF-8 stand in a field as unpaired surrogates (see ``surrogateescape``).
    """

    line: int
    fields: list[str] | None


def csv_records(lines: Iterable[bytes], dialect: CsvDialect) -> Iterator[CsvRecord]:
    """Yield the records of a file. ``lines`` are its lines with their ends; a carriage return alone ends a line too."""
    csv.field_size_limit(max(csv.field_size_limit(), FIELD_CHARS))
    feed = _Lines(lines, dialect)
    reader = csv.reader(
        feed,
        delimiter=dialect.delimiter,
        quotechar=dialect.quote or None,
        quoting=csv.QUOTE_MINIMAL if dialect.quote else csv.QUOTE_NONE,
        escapechar=dialect.escape if dialect.escape and dialect.escape != dialect.quote else None,
        doublequote=dialect.escape == dialect.quote,
        strict=True,
    )
    while True:
        feed.taken = 0
        first = feed.number + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield CsvRecord(first, None)
            if "field limit" in str(error):
                return  # What follows is the middle of that field.
            continue
        if fields:
            yield CsvRecord(first, fields)


def column_names(first: list[str], dialect: CsvDialect) -> list[str]:
    """Return the names of the columns of a file by the fields of its first record."""
    return first if dialect.header else [f"_c{number}" for number in range(len(first))]


class _Lines:
    """The iterator that a ``csv.reader`` takes lines from: decoded, one for each line break, and counted."""

    def __init__(self, lines: Iterable[bytes], dialect: CsvDialect) -> None:
        self.number = self.taken = 0
        self._dialect, self._lines = dialect, self._decoded(lines)
        self._tokens: re.Pattern[str] | None = None
        if dialect.quote and dialect.escape and dialect.escape != dialect.quote:
            quote, escape, delimiter = (re.escape(one) for one in (dialect.quote, dialect.escape, dialect.delimiter))
            self._tokens = re.compile(rf"{escape}[{quote}{escape}]?|{quote}|{delimiter}|[^{escape}{quote}{delimiter}]+")

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self.taken and not self._dialect.multiline:
            raise StopIteration  # The reader reports that a quoted field does not end.
        line = next(self._lines)
        in_quotes = self.taken > 0  # A record goes on in the next line only inside of quotes.
        self.taken += 1
        self.number += 1
        if self._tokens is not None and self._dialect.escape in line:
            return self._doubled(line, self._tokens, in_quotes)
        return line

    @staticmethod
    def _decoded(lines: Iterable[bytes]) -> Iterator[str]:
        for line in lines:
            for part in line.splitlines(keepends=True) if b"\r" in line else (line,):
                yield part.decode("utf-8", "surrogateescape")

    def _doubled(self, line: str, tokens: re.Pattern[str], in_quotes: bool) -> str:
        r"""Double each escape that escapes nothing, since ``csv`` would drop it: ``C:\temp`` stays ``C:\temp``."""
        escape, quote, delimiter = self._dialect.escape, self._dialect.quote, self._dialect.delimiter
        at_start, parts = not in_quotes, list[str]()
        for token in tokens.findall(line):
            if token[0] == escape:
                token = token if in_quotes and len(token) == 2 else token.replace(escape, 2 * escape)
            elif token == quote:
                in_quotes = at_start
            parts.append(token)
            at_start = token == delimiter and not in_quotes
        return "".join(parts)
