"""Split the lines of a CSV file into records, as RFC 4180 says, and say which records break its rules.

A quoted field ends at its closing quote, and a delimiter or the end of the line must follow. A quote inside an unquoted
field is an ordinary character. Blank lines are passed over.

A line ends at a line feed. A file whose first line holds a carriage return alone ends its lines so. In any other file
such a carriage return belongs to its field, since many writers do not quote it.

Every line of a file belongs to a record. Where a record breaks the rules, nothing says where it was meant to end: its
quote may never close, or close at the quote that opens a later field. So its first line alone is the malformed record,
and reading starts again on the next line. Such a line may also be the middle of a broken text. It is malformed too
unless it is strictly as RFC 4180 says, with no quote inside an unquoted field.
"""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from tlnlp.data.encodings import UTF8, decode_line
from tlnlp.errors import InputDataError

# A field with more characters is a fault: it is far more likely that a quote was never closed.
FIELD_CHARS = 64 << 20
# Characters that may separate fields; a file is never read by a guess, but a message says what would fit.
_DELIMITERS = {",", ";", "\t", "|"}
# Stands for a carriage return that belongs to a field, which ``csv`` would refuse outside of quotes. No text that was
# decoded holds this character: ``surrogateescape`` gives U+DC80 and above.
_RETURN = "\udc0d"
_WRONG_QUOTES = "a quoted field does not end as it should; check its quotes"
_TOO_LONG = f"a field has more than {FIELD_CHARS} characters; check its quotes"
_WRONG_WIDTH = "more or fewer fields than the header; check its quotes"


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
        key: the key of the settings that states the dialect, for messages.
    """

    header: bool = True
    delimiter: str = ","
    quote: str = '"'
    escape: str = '"'
    multiline: bool = True
    key: str = "csv"

    @classmethod
    def of(cls, settings: CsvKeys, key: str = "csv") -> CsvDialect:
        """Return the dialect that the settings of a job state under this key."""
        return cls(**settings.model_dump(), key=key)


DEFAULT_DIALECT = CsvDialect()


@dataclass(frozen=True)
class CsvRecord:
    """Hold one record.

    Fields:
        line: number of its first line, from 1.
        fields: its fields; None where it cannot be split. Bytes that are not of the encoding stand in them as unpaired
            surrogates (see ``decode_line``).
        problem: why the record is malformed; None for a sound one.
    """

    line: int
    fields: list[str] | None
    problem: str | None = None


class CsvRecords:
    """Iterate over the records of a file.

    Set ``width``, the number of fields of a record, once it is known; until then, records have any number.
    """

    def __init__(
        self, lines: Iterable[bytes], dialect: CsvDialect, encoding: str = UTF8, has_start: bool = True
    ) -> None:
        """Take the lines of a file, with their ends; ``has_start`` tells whether its first line is among them."""
        csv.field_size_limit(max(csv.field_size_limit(), FIELD_CHARS))
        self.width: int | None = None
        self._dialect = dialect
        self._feed = _Lines(lines, dialect, encoding, has_start)
        self._reader = csv.reader(
            self._feed,
            delimiter=dialect.delimiter,
            quotechar=dialect.quote or None,
            quoting=csv.QUOTE_MINIMAL if dialect.quote else csv.QUOTE_NONE,
            escapechar=dialect.escape or None if dialect.quote not in ("", dialect.escape) else None,
            doublequote=dialect.escape == dialect.quote,
            strict=True,
        )
        self._strict, self._plain, self._in_quotes = _patterns(dialect)
        # With another escape than the quote, ``csv`` lets text follow a closing quote.
        self._ends_unchecked = dialect.quote not in ("", dialect.escape)

    def __iter__(self) -> Iterator[CsvRecord]:
        """Return the iterator itself."""
        return self

    def __next__(self) -> CsvRecord:
        """Return the next record."""
        fields: list[str] | None = []
        while not fields:
            self._feed.taken.clear()
            first = self._feed.number + 1
            try:
                fields = next(self._reader)
            except csv.Error as error:
                return self._malformed(first, None, _TOO_LONG if "field limit" in str(error) else _WRONG_QUOTES)
            if not self._has_right_quotes(first):
                return self._malformed(first, None, _WRONG_QUOTES)
        if self._feed.has_returns:
            fields = [field.replace(_RETURN, "\r") for field in fields]
        if self.width is None or len(fields) == self.width:
            return CsvRecord(first, fields)
        if self._holds_several():
            return self._malformed(first, fields, _WRONG_WIDTH)
        return CsvRecord(first, fields, _WRONG_WIDTH)

    @property
    def text(self) -> str:
        """Return the text of the record that was read last, with its line breaks."""
        return "".join(self._feed.taken).replace(_RETURN, "\r")

    def _has_right_quotes(self, first: int) -> bool:
        if first <= self._feed.read_again_to:
            return self._strict.fullmatch(self.text) is not None
        if self._ends_unchecked and any(self._dialect.quote in line for line in self._feed.taken):
            return self._plain.fullmatch("".join(self._feed.taken)) is not None
        return True

    def _malformed(self, first: int, fields: list[str] | None, problem: str) -> CsvRecord:
        """Return a malformed record, and put back all of its lines but the first."""
        last = self._feed.put_back()
        if last > first:
            problem += f"; what stands below it, to line {last}, was read again as records of their own"
        return CsvRecord(first, fields, problem)

    def _holds_several(self) -> bool:
        """Return whether the first field that ends on a later line may end at a quote that was meant to begin one."""
        for line in self._feed.taken[1:]:
            if closing := self._in_quotes.match(line):
                before = line[: closing.end()].rstrip(self._dialect.quote)
                return not before or before[-1] == self._dialect.delimiter
        return False


def column_names(first: list[str], dialect: CsvDialect) -> list[str]:
    """Return the names of the columns of a file by the fields of its first record."""
    return first if dialect.header else [f"_c{number}" for number in range(len(first))]


# The line that names the delimiter for Excel.
_EXCEL = re.compile("\ufeff?sep=(.)[;,\t|]*", re.IGNORECASE)


def check_delimiter(uri: str, first: str, wanted: Sequence[str], dialect: CsvDialect) -> None:
    """Check that another delimiter would not give the wanted columns; call it where the stated one does not.

    Args:
        first: the text of the first record.

    Raises:
        InputDataError: it would; the message names the delimiter and the key to set. Or the first line names a
            delimiter for Excel, so it is no header.
    """
    if found := _EXCEL.fullmatch(first.strip()):
        raise InputDataError(
            f"{uri}: its first line is {first.strip()!r}, a note for Excel that is no part of the table; remove the "
            f"line, and pass --set '{dialect.key}.delimiter={found[1]}'"
        )
    for delimiter in _DELIMITERS - {dialect.delimiter, dialect.quote, dialect.escape}:
        lines = [first.encode("utf-8", "surrogatepass")]
        record = next(CsvRecords(lines, replace(dialect, delimiter=delimiter)), None)
        if record is not None and set(wanted) <= set(column_names(record.fields or [], dialect)):
            shown, stated = ("\\t" if one == "\t" else one for one in (delimiter, dialect.delimiter))
            raise InputDataError(
                f"{uri}: its fields are separated by {shown!r}, not by {stated!r}; "
                f"pass --set '{dialect.key}.delimiter={shown}'"
            )


def _patterns(dialect: CsvDialect) -> tuple[re.Pattern[str], re.Pattern[str], re.Pattern[str]]:
    """Return what a record matches that has no quotes inside unquoted fields, what any record does, and what the rest
    of a quoted field does, with its closing quote.
    """
    quote, escape, delimiter = (re.escape(one) for one in (dialect.quote, dialect.escape, dialect.delimiter))
    if not quote:
        return re.compile(".*", re.DOTALL), re.compile(".*", re.DOTALL), re.compile("(?!)")
    if dialect.escape == dialect.quote:
        rest = rf"[^{quote}]*+(?:{quote}{quote}[^{quote}]*+)*+{quote}"
    elif escape:
        rest = rf"[^{quote}{escape}]*+(?:{escape}.[^{quote}{escape}]*+)*+{quote}"
    else:
        rest = rf"[^{quote}]*+{quote}"
    strict = rf"(?:{quote}{rest}|[^{quote}{delimiter}\r\n]*+)"
    plain = rf"(?:{quote}{rest}|(?!{quote})[^{delimiter}\r\n]*+)"
    records = [re.compile(rf"{field}(?:{delimiter}{field})*+[\r\n]*", re.DOTALL) for field in (strict, plain)]
    return records[0], records[1], re.compile(rest, re.DOTALL)


class _Lines:
    """The iterator that a ``csv.reader`` takes lines from: decoded, one for each line break, and counted.

    ``taken`` are the lines of the record that is being read. Up to the line ``read_again_to``, lines were put back.
    ``has_returns``: a line so far held a carriage return that belongs to a field.
    """

    def __init__(self, lines: Iterable[bytes], dialect: CsvDialect, encoding: str, has_start: bool) -> None:
        self.number = self.read_again_to = 0
        self.has_returns = False
        self.taken: list[str] = []
        self._dialect, self._lines = dialect, self._decoded(lines, encoding, has_start)
        self._waiting: deque[str] = deque()
        self._tokens: re.Pattern[str] | None = None
        if dialect.quote and dialect.escape and dialect.escape != dialect.quote:
            quote, escape, delimiter = (re.escape(one) for one in (dialect.quote, dialect.escape, dialect.delimiter))
            self._tokens = re.compile(rf"{escape}[{quote}{escape}]?|{quote}|{delimiter}|[^{escape}{quote}{delimiter}]+")

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        in_quotes = bool(self.taken)  # A record goes on in the next line only inside of quotes.
        if in_quotes and not self._dialect.multiline:
            raise StopIteration  # The reader reports that a quoted field does not end.
        line = self._waiting.popleft() if self._waiting else next(self._lines)
        self.taken.append(line)
        self.number += 1
        if self._tokens is not None and self._dialect.escape in line:
            return self._doubled(line, self._tokens, in_quotes)
        return line

    def put_back(self) -> int:
        """Put back all lines of the record but the first; return the number of the last one."""
        last = self.number
        self._waiting.extendleft(reversed(self.taken[1:]))
        self.number -= len(self.taken) - 1
        self.read_again_to = max(self.read_again_to, last if len(self.taken) > 1 else 0)
        return last

    def _decoded(self, lines: Iterable[bytes], encoding: str, has_start: bool) -> Iterator[str]:
        is_undecided, ends_in_returns = has_start, False
        for line in lines:
            if is_undecided and line.strip():
                is_undecided, ends_in_returns = False, b"\r" in line.rstrip(b"\r\n")
            if b"\r" not in line:
                yield decode_line(line, encoding)
            elif ends_in_returns:
                yield from (decode_line(part, encoding) for part in line.splitlines(keepends=True))
            else:
                yield self._with_returns(decode_line(line, encoding))

    def _with_returns(self, line: str) -> str:
        inside = line.rstrip("\r\n")
        self.has_returns |= "\r" in inside
        return inside.replace("\r", _RETURN) + line[len(inside) :]

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
