"""Find what belongs together: the sentences that speak most for a label, and documents with similar words.

A table holds no texts, so both read the texts of some documents of the night, chosen by their scores or at random.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tlnlp.data.text import MAX_CHARS, prepare
from tlnlp.errors import BundleError, NotFoundError, StorageError, UsageError, sentence_of
from tlnlp.explore.evidence import NO_MODEL, load_classifier
from tlnlp.explore.explorer import Explorer
from tlnlp.explore.selection import Selection
from tlnlp.explore.texts import read_texts
from tlnlp.warehouse.nights import Night, ScoresTable
from tlnlp.warehouse.query_engine import identifier

# Documents whose sentences are compared, sentences that are shown, and longest sentence, in characters.
_TELLING_OF, _TELLING_SHOWN = 40, 8
# Documents that one is compared with, those that are shown, and the least similarity (cosine of n-grams).
_SIMILAR_OF, _SIMILAR_SHOWN, _SIMILAR_LEAST = 2000, 5, 0.1
_COLUMNS = ("document_id", "text_sha256", "label", "score", "run_id", "model_version", "scored_by")


@dataclass(frozen=True)
class Related:
    """What was found, or why nothing could be.

    Fields:
        rows: document, text or sentence, and how much it speaks for the label (log-odds) or how similar it is.
        read: number of documents whose texts were read.
    """

    rows: tuple[tuple[str, str, float], ...] = ()
    read: int = 0
    problem: str | None = None


def has_found(related: Related) -> bool:
    """Return whether nothing failed."""
    return related.problem is None


def rows_of_documents(
    explorer: Explorer, table: ScoresTable, night: Night, ids: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Return the rows of some documents of a night by their ids, with what finds their texts again."""
    where = f"document_id IN ({', '.join('?' for _ in ids)})"
    return {str(row["document_id"]): row for row in _rows(explorer, table, night, where, ids, "document_id", len(ids))}


def telling_sentences(
    explorer: Explorer, table: ScoresTable, night: Night, selection: Selection, label: str
) -> Related:
    """Return the sentences that speak most for a label among the surest selected documents that have it.

    Each sentence is weighed by the n-gram view: how the log-odds of the label change without it. That is exact.
    """
    where = f"{selection.where} AND label = ?"
    try:
        rows = _rows(explorer, table, night, where, (*selection.parameters, label), "score DESC", _TELLING_OF)
        texts = read_texts(explorer, table, rows)
        scored = [row for row in rows if row["document_id"] in texts]
        if not scored:
            return Related(problem="The texts of these documents cannot be read.")
        first = scored[0]
        classifier = load_classifier(explorer, table, int(first["model_version"]), str(first["scored_by"] or ""))
        from tlnlp.model.evidence import explain

        found = [
            (str(row["document_id"]), one.text, one.ngram)
            for row in scored
            for one in explain(classifier, texts[row["document_id"]], label, most_sentences=0).sentences
            if one.ngram is not None and one.ngram > 0
        ]
    except (BundleError, NotFoundError, StorageError, UsageError) as error:
        return Related(problem=f"The sentences cannot be weighed. {sentence_of(error)}")
    except ImportError:
        return Related(problem=NO_MODEL)
    best = dict[str, tuple[str, str, float]]()
    for one in sorted(found, key=lambda one: -one[2]):
        best.setdefault(" ".join(one[1].split()), one)
    return Related(tuple(best.values())[:_TELLING_SHOWN], len(scored))


def similar_documents(
    explorer: Explorer, table: ScoresTable, night: Night, row: Mapping[str, Any], text: str
) -> Related:
    """Return documents whose n-grams are most like those of a document, among others of the night at random."""
    try:
        from tlnlp.model.ngram import ngram_features
    except ImportError:
        return Related(problem=NO_MODEL)
    order = f"md5(document_id || '{night.token[:16]}')"
    try:
        rows = _rows(explorer, table, night, "document_id <> ?", (row["document_id"],), order, _SIMILAR_OF)
        texts = read_texts(explorer, table, rows)
    except (StorageError, UsageError) as error:
        return Related(problem=f"The documents cannot be compared. {sentence_of(error)}")
    if not texts:
        return Related(problem="The texts of other documents cannot be read.")
    features = ngram_features([prepare(one, MAX_CHARS) for one in (text, *texts.values())])
    similar = np.asarray((features[1:] @ features[0].T).todense()).ravel()
    names = list(texts)
    best = [int(place) for place in np.argsort(-similar, kind="stable")[:_SIMILAR_SHOWN]]
    found = [(names[place], texts[names[place]], float(similar[place])) for place in best]
    return Related(tuple(one for one in found if one[2] >= _SIMILAR_LEAST), len(texts))


def _rows(
    explorer: Explorer,
    table: ScoresTable,
    night: Night,
    where: str,
    parameters: Sequence[object],
    order: str,
    most: int,
) -> list[dict[str, Any]]:
    """Return columns of selected rows; kept columns too, of which one may hold the text."""
    names = [*_COLUMNS, *(column.name for column in table.kept if column.type == "string")]
    sql = f"""
        SELECT {", ".join(map(identifier, names))} FROM {explorer.night_rows(table, night)}
        WHERE {where} ORDER BY {order} LIMIT {most}"""
    return [dict(zip(names, row, strict=True)) for row in explorer.rows(table, sql, *parameters)]
