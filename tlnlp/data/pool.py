"""Draw a sample of distinct unlabelled documents for training, in one pass."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from tlnlp.data.rows import read_rows
from tlnlp.data.tables import source_files
from tlnlp.data.text import is_blank, is_text, text_sha256

# No further file is read after this many rows for each text of the sample: more would hardly improve it.
ROWS_PER_TEXT = 50


@dataclass(frozen=True)
class Pool:
    """Hold a sample of unlabelled documents.

    Fields:
        uri: URI of the documents, as given.
        texts: distinct texts without a label, in random order.
        digest: sha256 of the texts and their order, in hex.
        rows: number of rows read.
        labelled_inside: how many of these rows hold a text that has a label.
        unusable: how many of these rows hold no usable text.
    """

    uri: str
    texts: tuple[str, ...]
    digest: str
    rows: int
    labelled_inside: int
    unusable: int


def read_pool(uri: str, text_column: str, limit: int, seed: int, labelled: Collection[str]) -> Pool:
    """Draw at most ``limit`` distinct texts, each with the same probability.

    Args:
        limit: size of the sample, in texts.
        labelled: sha256 of the texts that have labels; they are left out.

    Raises:
        InputDataError: there are no files, or a file lacks the column.
        StorageError: the store cannot be read.

    Source: Vitter 1985, algorithm R (reservoir sampling).
    """
    generator = np.random.default_rng((seed, 4))
    labelled_digests, sample = set(labelled), list[str]()
    seen: set[str] = set()
    rows = inside = unusable = 0
    for source in source_files(uri):
        if rows >= ROWS_PER_TEXT * limit:
            break
        for row in read_rows(source, (text_column,)):
            rows += row.number > 0
            text = row.values[0] if row.fault is None else None
            if not isinstance(text, str) or is_blank(text) or not is_text(text):
                unusable += row.number > 0
                continue
            sha = text_sha256(text)
            if sha in labelled_digests:
                inside += 1
                continue
            if sha in seen:
                continue
            seen.add(sha)
            if len(sample) < limit:
                sample.append(text)
            elif (place := int(generator.integers(len(seen)))) < limit:
                sample[place] = text
    shuffled = [sample[i] for i in generator.permutation(len(sample))]
    digest = hashlib.sha256("\n".join(text_sha256(text) for text in shuffled).encode()).hexdigest()
    return Pool(uri, tuple(shuffled), digest, rows, inside, unusable)
