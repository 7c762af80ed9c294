"""Draw a sample of distinct unlabelled documents for training, evenly and in bounded memory."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

import numpy as np

from tlnlp.data.csv_records import DEFAULT_DIALECT, CsvDialect
from tlnlp.data.encodings import UTF8
from tlnlp.data.rows import Part, Row, read_part
from tlnlp.data.tables import AUTO, SourceFile, source_files
from tlnlp.data.text import MAX_CHARS, is_blank, is_text, model_text_sha256, text_sha256

# Of an input with more rows than this for each text of the sample, only parts are read: more would hardly improve it.
ROWS_PER_TEXT = 50
# A part of a large file, about. Of Parquet it is larger, because row groups are.
PART_BYTES = {"parquet": 64 << 20, "json": 4 << 20, "csv": 4 << 20}
_REPORT_ROWS = 10_000
_ADVICE = "set the name of the column of texts, of labels and of documents, with --set text_column="

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Pool:
    """Hold a sample of unlabelled documents.

    Fields:
        uri: URI of the documents, as given.
        texts: distinct texts without a label, in random order; texts that a model reads alike are one.
        digest: sha256 of the texts and their order, in hex.
        rows: number of rows read.
        labelled_inside: how many of these rows hold a text that has a label.
        unusable: how many of these rows hold no usable text.
        unreadable: how many files, or parts of files, could not be read, or not to their end.
        parts_read: how many parts of the files were read, where the input was too large to be read whole; else 0.
        parts: how many parts the files have.
    """

    uri: str
    texts: tuple[str, ...]
    digest: str
    rows: int
    labelled_inside: int
    unusable: int
    unreadable: int = 0
    parts_read: int = 0
    parts: int = 0


def read_pool(
    uri: str,
    text_column: str,
    limit: int,
    seed: int,
    labelled: Collection[str],
    format: str = AUTO,
    csv: CsvDialect = DEFAULT_DIALECT,
    progress: Progress | None = None,
    encoding: str = UTF8,
    max_chars: int = MAX_CHARS,
) -> Pool:
    """Draw at most ``limit`` distinct texts, each with the same probability.

    An input of at most ``ROWS_PER_TEXT * limit`` rows is read whole. Of a larger one, parts are drawn at random, each
    with the same probability, and read until there are so many rows: byte blocks, row groups of Parquet, or whole
    files where they are compressed or where fields may hold line breaks (CSV). A part that was begun is read to its
    end. So reading costs at most twice these rows and one part.

    Files are read in pieces. Beside the sample, memory holds a digest of each distinct text that was read: about 100
    bytes, thus at most ``100 * ROWS_PER_TEXT * limit`` bytes and those of the last part.

    Args:
        limit: size of the sample, in texts.
        labelled: digests of the texts that have labels (see ``model_text_sha256``); they are left out.
        format: as for ``source_files``.
        csv: how files in CSV are written.
        progress: is called now and then with the number of rows read.
        encoding: of files in CSV and JSON Lines.
        max_chars: the most characters of a text that the model reads.

    Raises:
        InputDataError: there are no files, or a file lacks the column or is not text that can be read by lines.
        StorageError: the store cannot be read.

    Source: Vitter 1985, algorithm R (reservoir sampling); cluster sampling of the parts.
    """
    files = source_files(uri, format, "unlabelled_format")
    parts = [part for source in files for part in _parts_of(source, csv)]
    bound = ROWS_PER_TEXT * limit
    sample = _Sample(limit, seed, labelled, max_chars, progress)
    for row in _rows((Part(source) for source in files), text_column, csv, encoding):
        sample.add(row)
        if sample.rows > bound and len(parts) > 1:
            break
    else:
        return sample.pool(uri)
    sample = _Sample(limit, seed, labelled, max_chars, progress)
    for read, place in enumerate(np.random.default_rng((seed, 5)).permutation(len(parts))):
        if sample.rows >= bound:
            return sample.pool(uri, read, len(parts))
        for row in _rows(iter([parts[place]]), text_column, csv, encoding):
            sample.add(row)
    return sample.pool(uri, len(parts), len(parts))


def _rows(parts: Iterator[Part], text_column: str, csv: CsvDialect, encoding: str) -> Iterator[Row]:
    for part in parts:
        if part.source.size_bytes:  # Engines write empty files where a task has no rows.
            yield from read_part(part, (text_column,), csv, encoding=encoding, advice=_ADVICE)


def _parts_of(source: SourceFile, csv: CsvDialect) -> list[Part]:
    """Return the parts of a file that can be read apart from each other."""
    in_lines = source.format != "csv" or not (csv.multiline and csv.quote)
    if source.codec is not None or not in_lines:
        return [Part(source)]
    places = list(range(0, max(1, source.size_bytes), PART_BYTES[source.format]))
    return [Part(source, start, end) for start, end in zip(places, [*places[1:], None], strict=True)]


class _Sample:
    """A growing sample of distinct texts, and the counts of what was read."""

    def __init__(
        self, limit: int, seed: int, labelled: Collection[str], max_chars: int, progress: Progress | None
    ) -> None:
        self.rows, self._max_chars = 0, max_chars
        self._limit, self._generator, self._labelled = limit, np.random.default_rng((seed, 4)), set(labelled)
        self._texts: list[str] = []
        self._seen: set[int] = set()
        self._inside = self._unusable = self._unreadable = 0
        self._progress = progress

    def add(self, row: Row) -> None:
        """Count a row, and take its text into the sample if it is drawn."""
        if row.number == 0:
            self._unreadable += 1
            return
        self.rows += 1
        if self._progress is not None and self.rows % _REPORT_ROWS == 0:
            self._progress(self.rows)
        text = row.values[0] if row.fault is None else None
        if not isinstance(text, str) or is_blank(text) or not is_text(text):
            self._unusable += 1
            return
        sha = model_text_sha256(text, self._max_chars)
        if sha in self._labelled:
            self._inside += 1
            return
        short = int(sha[:16], 16)  # 64 bits: of a hundred million texts, two agree with a probability below 0.1 %.
        if short in self._seen:
            return
        self._seen.add(short)
        if len(self._texts) < self._limit:
            self._texts.append(text)
        elif (place := int(self._generator.integers(len(self._seen)))) < self._limit:
            self._texts[place] = text

    def pool(self, uri: str, parts_read: int = 0, parts: int = 0) -> Pool:
        """Return the texts in random order, with the counts."""
        shuffled = [self._texts[i] for i in self._generator.permutation(len(self._texts))]
        digest = hashlib.sha256("\n".join(text_sha256(text) for text in shuffled).encode()).hexdigest()
        counts = (self.rows, self._inside, self._unusable, self._unreadable)
        return Pool(uri, tuple(shuffled), digest, *counts, parts_read, parts)
