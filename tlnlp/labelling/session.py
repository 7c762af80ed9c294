"""Hand out the documents of a queue to people, one at a time, and take their labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from tlnlp.errors import NotFoundError, UsageError
from tlnlp.labelling.accuracy_estimate import AccuracyEstimate, estimate
from tlnlp.labelling.answers import Answer, Answers, conflicts
from tlnlp.labelling.queue_file import Progress, Queue, QueueDocument, QueueFile, QueueItem, now
from tlnlp.labelling.selection import NEAR_DUPLICATE

LONGEST_NAME = 60


@dataclass(frozen=True)
class Counts:
    """How far the labelling of a queue is, for one person.

    Fields:
        documents: documents in the queue.
        answered, own: those that have a label, and those that this person gave one.
        skipped: those that this person skipped.
        others: those that other people are at.
        disputed: documents of the queue that people labelled differently, by id, with these labels by person.
        estimate: how often the version of the queue is right; None without answers to random documents.
    """

    documents: int
    answered: int
    own: int
    skipped: int
    others: int
    disputed: dict[str, dict[str, str]]
    estimate: AccuracyEstimate | None


class LabelSession:
    """One queue, and what people have answered.

    Args:
        answers: where labels are added.
        file: where the queue is.
        clock: returns the seconds since 1970.
    """

    def __init__(self, answers: Answers, file: QueueFile, clock: Callable[[], float] = now) -> None:
        self._answers, self._file, self._clock = answers, file, clock

    def queue(self) -> Queue:
        """Return the queue. Raises NotFoundError if none was built, StorageError."""
        found = self._file.read()
        if found is None:
            raise NotFoundError(f"{self._file.uri}: no queue was built yet; run `tlnlp queue`")
        return found

    def next_item(self, queue: Queue, person: str) -> QueueItem | None:
        """Return the next document for a person, which is his for a while; None if nothing is left for him."""
        found: QueueItem | None = None

        def change(before: Progress) -> Progress:
            """Return the progress with the first document that nobody has answered and nobody else is at."""
            nonlocal found
            # Read after the claims: a claim ends only when its answer is stored.
            answered = {answer.text_sha256 for answer in self._answers.read()}
            found = next((item for item in queue.items if self._is_free(item, before, person, answered)), None)
            return before if found is None else before.claimed(found.document.document_id, person, self._clock())

        self._file.update(change)
        return found

    def _is_free(self, item: QueueItem, progress: Progress, person: str, answered: set[str]) -> bool:
        document_id = item.document.document_id
        return (
            item.document.text_sha256 not in answered
            and person not in progress.skipped.get(document_id, ())
            and not progress.is_others(document_id, person, self._clock())
        )

    def answer(
        self,
        queue: Queue,
        item: QueueItem,
        person: str,
        label: str,
        text: str,
        duplicates: Sequence[tuple[QueueDocument, str]] = (),
    ) -> None:
        """Take a person's label of a document, and of near-duplicates.

        Args:
            text: the text of the document.
            duplicates: the near-duplicates that get the same label, each with its text.

        Raises:
            UsageError: the queue has no such class.
        """
        if label not in queue.classes:
            raise UsageError("label: the queue has no such class; choose one of those on the page")
        at = datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="microseconds")
        asked = {one.document.document_id: one.why for one in queue.items}
        found = [(item.document, text), *duplicates]
        self._answers.add(
            [
                (
                    Answer(
                        document_id=one.document_id,
                        text_sha256=one.text_sha256,
                        label=label,
                        labelled_by=person,
                        labelled_at=at,
                        predicted=one.label,
                        score=one.score,
                        model=queue.model,
                        model_version=queue.model_version,
                        score_date=queue.score_date,
                        why=asked.get(one.document_id, NEAR_DUPLICATE),
                    ),
                    own,
                )
                for one, own in found
            ]
        )

    def skip(self, item: QueueItem, person: str) -> None:
        """Leave a document to others."""
        self._file.update(lambda before: before.skipped_by(item.document.document_id, person, self._clock()))

    def take_back(self, queue: Queue, person: str) -> None:
        """Take back what a person did last in a queue: an answer, with those to its near-duplicates, or a skip."""
        skip = self._file.progress().last_skip(person)
        last = self._answers.last(person, queue.digests)
        if last and (skip is None or datetime.fromisoformat(last[0].labelled_at).timestamp() > skip[1]):
            self._answers.remove(last)
        elif skip is not None:
            document_id = skip[0]
            self._file.update(lambda before: before.asked_again(document_id, person))

    def counts(self, queue: Queue, person: str) -> Counts:
        """Return how far the labelling is. Raises StorageError."""
        answers, progress, at = self._answers.read(), self._file.progress(), self._clock()
        asked = [item.document.text_sha256 for item in queue.items]
        answered = {answer.text_sha256 for answer in answers}
        own = {answer.text_sha256 for answer in answers if answer.labelled_by == person}
        digests = queue.digests
        disputed = {
            found[0].document_id: {one.labelled_by: one.label for one in found}
            for digest, found in conflicts(answers).items()
            if digest in digests
        }
        return Counts(
            documents=len(queue.items),
            answered=sum(digest in answered for digest in asked),
            own=len(own.intersection(asked)),
            skipped=sum(person in progress.skipped.get(item.document.document_id, ()) for item in queue.items),
            others=sum(progress.is_others(item.document.document_id, person, at) for item in queue.items),
            disputed=disputed,
            estimate=estimate(answers, queue),
        )
