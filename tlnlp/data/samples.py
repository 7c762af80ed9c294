"""Read the beginning of a table: its first lines, or the columns that its first CSV file names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice

import pyarrow as pa

from tlnlp.data.csv_records import CsvDialect, column_names, csv_records
from tlnlp.data.lines import read_lines
from tlnlp.data.tables import SourceFile
from tlnlp.errors import InputDataError


def first_lines(files: Sequence[SourceFile], count: int) -> list[bytes]:
    """Return the first ``count`` lines that are not blank; fewer, if the files have no more.

    Raises:
        InputDataError: a file is truncated, or not compressed as its name says.
        StorageError: the store cannot be read.
    """
    found: list[bytes] = []
    for source in files:
        if len(found) < count and source.size_bytes:
            with _damage_reported(source), source.opened() as stream:
                found += islice((line for line in read_lines(stream) if line.strip()), count - len(found))
    return found


def csv_columns(files: Sequence[SourceFile], dialect: CsvDialect) -> list[str]:
    """Return the names of the columns by the first file that has any; an empty list if none has.

    Raises:
        InputDataError: the quotes of a first record do not match, or a file is truncated.
        StorageError: the store cannot be read.
    """
    for source in files:
        if source.size_bytes:
            with _damage_reported(source), source.opened() as stream:
                head = next(csv_records(read_lines(stream), dialect), None)
            if head is not None and head.fields is None:
                raise InputDataError(f"{source.uri}: the quotes of its first record do not match; check csv.quote")
            if head is not None and head.fields:
                return column_names(head.fields, dialect)
    return []


@contextmanager
def _damage_reported(source: SourceFile) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise InputDataError(
            f"{source.uri} cannot be read; it may be truncated or of another format; write it again or move it away"
        ) from error
