"""Read the beginning of a table: its first lines, or the columns that its first CSV file names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice

import pyarrow as pa

from tlnlp.data.csv_records import CsvDialect, CsvRecords, check_delimiter, column_names
from tlnlp.data.encodings import UTF8, checked_lines
from tlnlp.data.lines import LineTooLongError, read_lines
from tlnlp.data.tables import SourceFile
from tlnlp.errors import InputDataError

# Files whose beginnings are read at the same time.
_READERS = 16


def first_lines(files: Sequence[SourceFile], count: int) -> list[bytes]:
    """Return the first ``count`` lines of JSON Lines that are not blank; fewer, if the files have no more.

    Raises:
        InputDataError: a file is damaged, or not JSON Lines that can be read by lines.
        StorageError: the store cannot be read.
    """
    found: list[bytes] = []
    for source in files:
        if len(found) < count and source.size_bytes:
            with _damage_reported(source), source.opened() as stream:
                lines = checked_lines(source.uri, read_lines(stream), "json")
                found += islice((line for line in lines if line.strip()), count - len(found))
    return found


def csv_columns(
    files: Sequence[SourceFile], dialect: CsvDialect, encoding: str = UTF8, wanted: Sequence[str] = ()
) -> list[str]:
    """Return the names of the columns by the first file that has any; an empty list if none has.

    Args:
        wanted: columns that the file should have; where they are missing, another delimiter is looked for.

    Raises:
        InputDataError: the fields are separated by another delimiter, the quotes of a first record do not match, or a
            file is damaged, or not text that can be read by lines.
        StorageError: the store cannot be read.
    """
    for source in files:
        if source.size_bytes:
            with _damage_reported(source), source.opened() as stream:
                records = CsvRecords(checked_lines(source.uri, read_lines(stream), "csv"), dialect, encoding)
                head = next(records, None)
            if head is None:
                continue
            names = column_names(head.fields or [], dialect)
            if not set(wanted) <= set(names):
                check_delimiter(source.uri, records.text, wanted, dialect)
            if head.fields is None:
                raise InputDataError(
                    f"{source.uri}: the quotes of its first record do not match; check {dialect.key}.quote"
                )
            return names
    return []


def split_columns(files: Sequence[SourceFile], dialect: CsvDialect, encoding: str) -> list[str] | None:
    """Return the names of the columns that all of these CSV files have, in their order; None if files differ.

    Raises:
        InputDataError, StorageError: as for ``csv_columns``.
    """
    with ThreadPoolExecutor(_READERS) as pool:
        found = {tuple(names) for names in pool.map(lambda file: csv_columns([file], dialect, encoding), files)}
    return list(found.pop()) if len(found) == 1 else None


@contextmanager
def _damage_reported(source: SourceFile) -> Iterator[None]:
    try:
        yield
    except LineTooLongError as error:
        raise InputDataError(f"{source.uri}: {error}; check the format of the file, and its line breaks") from error
    except (pa.ArrowException, OSError) as error:
        raise InputDataError(
            f"{source.uri} cannot be read; it may be truncated, or not compressed as its name says; write it again or "
            "move it away"
        ) from error
