"""Build the queue of a night: the stage behind ``tlnlp queue``."""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlnlp.config import QueueSettings
from tlnlp.data.document_texts import find_texts
from tlnlp.data.labels import LabelContract, LabelledSet, read_labels
from tlnlp.data.text import model_text_sha256
from tlnlp.errors import InputDataError, NotFoundError, counted
from tlnlp.labelling.accuracy_estimate import AccuracyEstimate, estimate
from tlnlp.labelling.answers import Answer, Answers
from tlnlp.labelling.candidates import CandidateRows, candidate_rows
from tlnlp.labelling.night_documents import document_files, run_ledger
from tlnlp.labelling.queue_file import Queue, QueueDocument, QueueFile, QueueItem
from tlnlp.labelling.selection import RANDOM, Choice, choose, few_labels
from tlnlp.labelling.signals import read_candidates
from tlnlp.model.classifier import Classifier
from tlnlp.registry import Registry
from tlnlp.runs.progress import say
from tlnlp.warehouse.nights import Night, ScoresTable, read_scores

# Of a random draw, so many times as many are read as are asked: some have a label by now, some have lost their text.
_SPARE = 2
_TEXTS_S = 3600.0
# Labelled texts that candidates are compared with.
_MOST_LABELLED = 5_000


@dataclass(frozen=True)
class QueueResult:
    """What ``tlnlp queue`` has stored.

    Fields:
        why: number of documents by reason.
        answers: labels that people have given so far.
        estimate: how often the version of the night is right; None without labels of random documents.
    """

    queue: str
    table: str
    score_date: str
    documents: int
    why: dict[str, int]
    answers: int
    estimate: AccuracyEstimate | None

    def to_json(self) -> dict[str, Any]:
        """Return all values as a JSON object."""
        estimate = self.estimate.to_json() if self.estimate else None
        return vars(self) | {"estimate": estimate}

    def facts(self) -> dict[str, Any]:
        """Return what a terminal shows."""
        return vars(self) | {"estimate": str(self.estimate) if self.estimate else "no random document is labelled yet"}


def build_queue(settings: QueueSettings) -> QueueResult:
    """Choose the documents that people should label next, and store their ids in place of an earlier queue.

    Raises:
        InputDataError: the documents cannot be read, or none of them can be asked.
        NotFoundError: there is no such table or night.
        ModelNotFoundError, BundleError: the version of the night cannot be used.
        UsageError, StorageError: the table, the labels or the queue cannot be read or written.
    """
    table = read_scores(settings.warehouse, settings.catalog, settings.table)
    night = _night(table, settings)
    stored = Answers(settings.labels, settings.text_column, settings.label_column)
    answers = stored.read()
    labelled = _labelled(settings)
    with tempfile.TemporaryDirectory(prefix="tlnlp-queue-") as scratch:
        registry = Registry(settings.registry)
        version = registry.resolve(f"{table.model}@{night.model_version}")
        classifier = Classifier.load(registry.fetch(version, Path(scratch) / "bundle"))
        counts = labelled.counts if labelled else {}
        lacking = few_labels(counts, classifier.classes) if counts else []
        names = [classifier.classes[place] for place in lacking]
        drawn = _SPARE * round(settings.size * settings.random_share)
        digests = {answer.text_sha256 for answer in answers}
        number = max(settings.candidates, _SPARE * settings.size)
        found = candidate_rows(table, night, number, drawn, names, digests)
        rows, texts, at_random = _with_texts(settings, table, night, found, labelled, classifier.spec.max_chars)
        say(f"{counted(len(rows), 'document')} may be asked")
        known = labelled.texts[:_MOST_LABELLED] if labelled else []
        candidates = read_candidates(classifier, texts, range(at_random), known)
    chosen = choose(candidates, settings.size, settings.random_share, lacking)
    queue = _queue(night, table, classifier.classes, rows, chosen, found)
    QueueFile(settings.queue, settings.table).write(queue)
    return _result(settings, queue, answers)


def _night(table: ScoresTable, settings: QueueSettings) -> Night:
    night = table.night(settings.score_date)
    if night is None or night.run_id is None or night.model_version is None:
        raise NotFoundError(
            f"table {table.name}: no night of {settings.score_date or 'any day'} with a known run was published; "
            "choose a newer one with --set score_date="
        )
    return night


def _labelled(settings: QueueSettings) -> LabelledSet | None:
    """Return the labels so far; None without any. Faults are for `tlnlp labels check` to report."""
    try:
        return read_labels(settings.labels, LabelContract(settings.text_column, settings.label_column))
    except (InputDataError, NotFoundError) as error:
        say(f"no labels are taken into account: {error}")
        return None


def _with_texts(
    settings: QueueSettings,
    table: ScoresTable,
    night: Night,
    found: CandidateRows,
    labelled: LabelledSet | None,
    max_chars: int,
) -> tuple[list[QueueDocument], list[str], int]:
    """Return the rows whose texts can be read and have no label, these texts, and how many of the rows are drawn."""
    texts = dict(found.kept)
    if missing := {row.document_id: row.text_sha256 for row in found.rows if row.document_id not in texts}:
        config = run_ledger(settings.warehouse, str(night.run_id)).get("config")
        files = document_files(config if isinstance(config, dict) else {}, settings.documents, table.source)
        read = find_texts(files, missing, _TEXTS_S)
        texts |= read.texts
        if lost := len(missing) - len(read.texts):
            say(
                f"{counted(lost, 'document')} cannot be asked: {files.uri} holds another text of {len(read.changed):,} "
                f"by now; the others were not found in the {counted(read.rows, 'row')} that were read"
            )
    learned = {model_text_sha256(text, max_chars) for text in (labelled.texts if labelled else [])}
    asked = [
        number
        for number, row in enumerate(found.rows)
        if row.document_id in texts and model_text_sha256(texts[row.document_id], max_chars) not in learned
    ]
    if not asked:
        raise InputDataError(
            f"table {table.name}: no document of the night of {night.day} can be asked: all have labels, or their "
            "texts are gone; say where the documents are with --set documents="
        )
    rows = [found.rows[number] for number in asked]
    return rows, [texts[row.document_id] for row in rows], sum(number < found.drawn for number in asked)


def _queue(
    night: Night,
    table: ScoresTable,
    classes: tuple[str, ...],
    rows: list[QueueDocument],
    chosen: list[Choice],
    found: CandidateRows,
) -> Queue:
    items = tuple(
        QueueItem(rows[one.position], one.why, tuple(rows[place] for place in one.duplicates)) for one in chosen
    )
    drawn = {item.document.document_id for item in items if item.why == RANDOM}
    last = max((place for place, row in enumerate(found.rows[: found.drawn]) if row.document_id in drawn), default=-1)
    # The sample is the beginning of the draw, up to the last document that is asked.
    known = tuple(row for before, row in found.known if before <= last or not found.drawn)
    version = int(night.model_version or 0)
    return Queue(str(night.day), str(night.run_id), table.model, version, classes, items, known)


def _result(settings: QueueSettings, queue: Queue, answers: list[Answer]) -> QueueResult:
    return QueueResult(
        queue=QueueFile(settings.queue, settings.table).uri,
        table=settings.table,
        score_date=queue.score_date,
        documents=len(queue.items),
        why=dict(Counter(item.why for item in queue.items)),
        answers=len(answers),
        estimate=estimate(answers, queue),
    )
