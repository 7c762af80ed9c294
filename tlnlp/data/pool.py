"""Unlabelled documents to learn from: a sample of distinct texts, drawn in one pass."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from tlnlp.data.rows import read_rows
from tlnlp.data.tables import source_files
from tlnlp.data.text import is_blank, is_text, text_sha256

# Rows looked at for each one kept: of millions of documents, the first files hold sample enough.
LOOKED_AT = 50


@dataclass(frozen=True)
class Pool:
    """``texts`` are distinct, none of them labelled; ``digest`` is of them and their order.

    ``rows`` were looked at; ``labelled_inside`` of them hold a text that is labelled, ``unusable`` of them none.
    """

    uri: str
    texts: tuple[str, ...]
    digest: str
    rows: int
    labelled_inside: int
    unusable: int


def read_pool(uri: str, text_column: str, limit: int, seed: int, labelled: Collection[str]) -> Pool:
    """At most ``limit`` distinct texts, each as likely as any other (reservoir sampling: Vitter 1985, algorithm R).

    ``labelled``: sha256 of the texts that have labels, which are left out.

    Raises:
        InputDataError: nothing is there, or a file has no such column.
        StorageError: the store cannot be read.
    """
    generator = np.random.default_rng((seed, 4))
    known, kept = set(labelled), list[str]()
    seen: set[str] = set()
    rows = inside = unusable = 0
    for source in source_files(uri):
        if rows >= LOOKED_AT * limit:
            break
        for row in read_rows(source, (text_column,)):
            rows += row.number > 0
            text = row.values[0] if row.fault is None else None
            if not isinstance(text, str) or is_blank(text) or not is_text(text):
                unusable += row.number > 0
                continue
            sha = text_sha256(text)
            if sha in known:
                inside += 1
                continue
            if sha in seen:
                continue
            seen.add(sha)
            if len(kept) < limit:
                kept.append(text)
            elif (place := int(generator.integers(len(seen)))) < limit:
                kept[place] = text
    shuffled = [kept[i] for i in generator.permutation(len(kept))]
    digest = hashlib.sha256("\n".join(text_sha256(text) for text in shuffled).encode()).hexdigest()
    return Pool(uri, tuple(shuffled), digest, rows, inside, unusable)
