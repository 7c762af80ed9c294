"""Find the texts of some documents again, by their ids, in the files that they were read from.

A table of scores holds no texts. For a row of a table, a found text is returned only if it is the very text that was
scored: an id may mean another text by now, and a table may name files that its reader has no business with.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tlnlp.data.csv_records import DEFAULT_DIALECT, CsvDialect
from tlnlp.data.encodings import UTF8
from tlnlp.data.rows import BATCH_ROWS, Part, check_columns, read_part
from tlnlp.data.tables import AUTO, SourceFile, source_files
from tlnlp.data.text import text_sha256
from tlnlp.data.values import value_text

_HAVE_CHANGED = "the documents have changed since they were scored"
_NAME_COLUMNS = "set the names of your columns with --set id_column= and --set text_column="
_CHECK_ROWS = 2_000


@dataclass(frozen=True)
class DocumentFiles:
    """Where documents are, and how they are written; the fields are settings of ``tlnlp score``."""

    uri: str
    id_column: str = "id"
    text_column: str = "text"
    format: str = AUTO
    csv: CsvDialect = DEFAULT_DIALECT
    encoding: str = UTF8


@dataclass(frozen=True)
class FoundTexts:
    """What a search has found.

    Fields:
        texts: the text of each document that was found, by its id.
        changed: the ids that were found with another text only.
        is_complete: whether all files were read, or all texts found.
        rows: the rows that were read.
    """

    texts: Mapping[str, str]
    changed: frozenset[str]
    is_complete: bool
    rows: int


def texts_by_id(files: DocumentFiles, ids: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Return the distinct texts of each of these ids that has one; an id with several is a conflict.

    All files are read to their end, since a later row may have the same id. Rows that cannot be read, and values that
    are no text, are passed over, as a night puts them into quarantine.

    Raises:
        InputDataError: there are no files, or a file lacks one of the columns or cannot be read by lines.
        StorageError: the store cannot be read.
    """
    found: dict[str, dict[str, None]] = {}
    for source in source_files(files.uri, files.format):
        for _, document_id, text in _candidates(source, files, set(ids), _NAME_COLUMNS):
            if document_id is not None and isinstance(text, str):
                found.setdefault(document_id, {})[text] = None
    return {document_id: tuple(texts) for document_id, texts in found.items()}


def find_texts(files: DocumentFiles, digests: Mapping[str, str], timeout_s: float) -> FoundTexts:
    """Return the texts that were scored.

    Args:
        files: where the documents are.
        digests: the sha256 of each wanted text (see ``text_sha256``), by the id of its document.
        timeout_s: seconds after which the search ends.

    Raises:
        InputDataError: there are no such files, or a file lacks a column.
        StorageError: the store cannot be read.
    """
    until, rows = time.monotonic() + timeout_s, 0
    texts: dict[str, str] = {}
    changed: set[str] = set()
    for source in source_files(files.uri, files.format):
        for count, document_id, text in _candidates(source, files, set(digests), _HAVE_CHANGED):
            rows += count
            if document_id is not None and isinstance(text, str):
                if text_sha256(text) == digests[document_id]:
                    texts.setdefault(document_id, text)
                    changed.discard(document_id)
                elif document_id not in texts:
                    changed.add(document_id)
            if len(texts) == len(digests):
                return FoundTexts(texts, frozenset(changed), True, rows)
            if time.monotonic() > until:
                return FoundTexts(texts, frozenset(changed), False, rows)
    return FoundTexts(texts, frozenset(changed), True, rows)


def _candidates(
    source: SourceFile, files: DocumentFiles, wanted: set[str], advice: str
) -> Iterator[tuple[int, str | None, object | None]]:
    """Yield a number of rows that were read, and now and then the id and the text of a wanted document among them.

    Args:
        advice: what to do about a missing column.
    """
    if source.size_bytes == 0:
        return
    if source.format == "parquet" and source.codec is None:
        with source.opened() as stream:
            yield from _in_parquet(source, stream, files, wanted, advice)
        return
    columns, unreported = (files.id_column, files.text_column), 0
    for row in read_part(Part(source), columns, files.csv, encoding=files.encoding, advice=advice):
        unreported += 1
        name = value_text(row.values[0]) if row.values and row.fault is None else None
        if name in wanted:
            yield unreported, name, row.values[1]
            unreported = 0
        elif unreported == _CHECK_ROWS:
            yield unreported, None, None
            unreported = 0
    yield unreported, None, None


def _in_parquet(
    source: SourceFile, stream: Any, files: DocumentFiles, wanted: set[str], advice: str
) -> Iterator[tuple[int, str | None, object | None]]:
    """Read the ids of each row group, and the texts of those that hold a wanted one."""
    file = pq.ParquetFile(stream)
    check_columns(source.uri, file.schema_arrow.names, (files.id_column, files.text_column), advice)
    for group in range(file.num_row_groups):
        ids = file.read_row_group(group, columns=[files.id_column]).column(0)
        places = _places(ids, wanted)
        if not places:
            yield len(ids), None, None
            continue
        first = 0
        for batch in file.iter_batches(BATCH_ROWS, row_groups=[group], columns=[files.text_column]):
            inside = {place - first: name for place, name in places.items() if first <= place < first + len(batch)}
            for place, name in inside.items():
                yield 0, name, batch.column(0)[place].as_py()
            yield len(batch), None, None
            first += len(batch)


def _places(ids: pa.ChunkedArray, wanted: set[str]) -> dict[int, str]:
    """Return the wanted ids among these, by their place."""
    if pa.types.is_string(ids.type) or pa.types.is_large_string(ids.type):
        found = pc.indices_nonzero(pc.is_in(ids, pa.array(list(wanted), ids.type))).to_pylist()
        return {place: ids[place].as_py() for place in found}
    named = ((place, value_text(value)) for place, value in enumerate(ids.to_pylist()))
    return {place: name for place, name in named if name in wanted}
