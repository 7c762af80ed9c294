"""Read which documents of a night may be asked: the most doubtful, some drawn at random, some of rare classes."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tlnlp.labelling.night_documents import kept_text
from tlnlp.labelling.queue_file import QueueDocument
from tlnlp.warehouse.nights import Night, ScoresTable
from tlnlp.warehouse.query_engine import identifier
from tlnlp.warehouse.query_worker import Limits
from tlnlp.warehouse.schema import SCORE_DATE

# Documents of each class that lacks labels.
_OF_A_CLASS = 100
# A query may compute so long, and may take so much memory: a night may have millions of rows.
_LIMITS = Limits(timeout_s=3600.0, memory_bytes=1_000_000_000)


@dataclass(frozen=True)
class CandidateRows:
    """Documents that may be asked, each once.

    Fields:
        rows: the documents; the first ``drawn`` are drawn at random, in the order of the draw.
        drawn: how many are.
        known: documents of the draw that have a label, each with the number of rows that were drawn before it.
        kept: texts that the table itself holds, by document.
    """

    rows: tuple[QueueDocument, ...]
    drawn: int
    known: tuple[tuple[int, QueueDocument], ...]
    kept: Mapping[str, str]


def candidate_rows(
    table: ScoresTable, night: Night, number: int, drawn: int, lacking: Sequence[str], answered: Collection[str]
) -> CandidateRows:
    """Return the documents of a night that may be asked.

    Args:
        number: documents that are returned, besides those of rare classes; at least half of them are drawn at random.
        drawn: documents that are drawn at least.
        lacking: classes that lack labels.
        answered: the sha256 of texts that people have labelled.

    Raises:
        UsageError: a query exceeded a limit.
        StorageError: the table cannot be read.
    """
    salt = hashlib.sha256(f"{night.day}{night.run_id}".encode()).hexdigest()[:16]
    order, spare = f"md5(document_id || '{salt}')", len(answered)
    half, texts = max(number // 2, drawn), dict[str, str]()
    first, known = list[QueueDocument](), list[tuple[int, QueueDocument]]()
    for row in _rows(table, night, "", (), order, half + spare, texts):
        if row.text_sha256 in answered:
            known.append((len(first), row))
        elif len(first) < half:
            first.append(row)
    others = list(_rows(table, night, "", (), f"score, {order}", number - min(half, number) + spare, texts))
    for label in lacking:
        others += _rows(table, night, "AND label = ?", (label,), f"score DESC, {order}", _OF_A_CLASS + spare, texts)
    taken = {row.document_id for row in first}
    rest = {row.document_id: row for row in others if row.text_sha256 not in answered and row.document_id not in taken}
    return CandidateRows((*first, *rest.values()), len(first), tuple(known), texts)


def _rows(
    table: ScoresTable,
    night: Night,
    condition: str,
    values: Sequence[object],
    order: str,
    most: int,
    texts: dict[str, str],
) -> Iterator[QueueDocument]:
    """Yield rows in an order; ``texts`` gets the texts that kept columns hold."""
    if most == 0:
        return
    kept = [column.name for column in table.kept if column.type == "string"]
    columns = ", ".join(["document_id", "text_sha256", "label", "score", *map(identifier, kept)])
    sql = f"""
        SELECT {columns} FROM {identifier(table.name)}
        WHERE {SCORE_DATE} = ? {condition} ORDER BY {order} LIMIT {most}"""
    with table.open_query(sql, (night.day, *values), _LIMITS) as stream:
        for document_id, digest, label, score, *others in stream.all_rows().rows:
            if (text := kept_text(others, str(digest))) is not None:
                texts[str(document_id)] = text
            yield QueueDocument(str(document_id), str(digest), str(label), float(score))
