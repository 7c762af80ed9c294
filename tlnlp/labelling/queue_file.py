"""Store which documents people should label next, and who is at which of them; no text is stored."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypeVar

from tlnlp.data.text import text_sha256
from tlnlp.errors import NotFoundError, StorageError
from tlnlp.storage import Storage
from tlnlp.storage.updates import update

# A document that a person was shown is his for so long.
CLAIM_S = 600.0

T = TypeVar("T")


@dataclass(frozen=True)
class QueueDocument:
    """A document of the night: id, sha256 of its text, label and score, as its row in the table has them."""

    document_id: str
    text_sha256: str
    label: str
    score: float


@dataclass(frozen=True)
class QueueItem:
    """A document to label, why it is asked (see ``selection.REASONS``), and others with nearly the same text."""

    document: QueueDocument
    why: str
    duplicates: tuple[QueueDocument, ...] = ()

    @property
    def key(self) -> str:
        """Return a name of the document and its text for forms, which may change the characters of an id."""
        return text_sha256(f"{self.document.text_sha256}{self.document.document_id}")


@dataclass(frozen=True)
class Queue:
    """The documents to label, in their order, and the night that they are of.

    Fields:
        classes: the labels to choose from.
        items: the documents.
        known: documents of the random sample that had a label when the queue was built, so they are not asked.
    """

    score_date: str
    run_id: str
    model: str
    model_version: int
    classes: tuple[str, ...]
    items: tuple[QueueItem, ...]
    known: tuple[QueueDocument, ...] = ()

    @property
    def digests(self) -> set[str]:
        """Return the sha256 of every text that the queue asks about."""
        return {one.text_sha256 for item in self.items for one in (item.document, *item.duplicates)}


@dataclass(frozen=True)
class Progress:
    """Who is at which document, and what was skipped.

    Fields:
        claims: by document, a person and the time (seconds since 1970) until which the document is his.
        skipped: by document, when each of the people who skipped it did so.
    """

    claims: Mapping[str, tuple[str, float]] = field(default_factory=dict)
    skipped: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def claimed(self, document_id: str, person: str, now: float) -> Progress:
        """Return the progress with a document that is this person's from now on; his other claims end."""
        others = {name: claim for name, claim in self.claims.items() if claim[0] != person and claim[1] > now}
        return replace(self, claims=others | {document_id: (person, now + CLAIM_S)})

    def skipped_by(self, document_id: str, person: str, now: float) -> Progress:
        """Return the progress after a person has skipped a document; his claim of it ends."""
        claims = {name: one for name, one in self.claims.items() if (name, one[0]) != (document_id, person)}
        return Progress(claims, {**self.skipped, document_id: {**self.skipped.get(document_id, {}), person: now}})

    def last_skip(self, person: str) -> tuple[str, float] | None:
        """Return the document that a person skipped last, and when; None if he has skipped nothing."""
        own = [(name, people[person]) for name, people in self.skipped.items() if person in people]
        return max(own, key=lambda one: one[1], default=None)

    def asked_again(self, document_id: str, person: str) -> Progress:
        """Return the progress as if a person had not skipped a document."""
        people = {name: at for name, at in self.skipped.get(document_id, {}).items() if name != person}
        return replace(self, skipped={**self.skipped, document_id: people})

    def is_others(self, document_id: str, person: str, now: float) -> bool:
        """Return whether another person is at a document."""
        holder, until = self.claims.get(document_id, ("", 0.0))
        return holder not in ("", person) and until > now


class QueueFile:
    """The queue of one table in a folder: ``<table>.json``, and ``<table>.progress.json`` beside it.

    Args:
        folder: URI of the folder.
        table: name of the table of scores.
    """

    def __init__(self, folder: str, table: str) -> None:
        self._storage = Storage(folder)
        self._items, self._progress = f"{table}.json", f"{table}.progress.json"
        self.uri = self._storage.url(self._items)

    def write(self, queue: Queue) -> None:
        """Store a queue in place of an earlier one. Raises StorageError."""
        self._storage.write(self._items, json.dumps(asdict(queue), indent=1).encode())

    def read(self) -> Queue | None:
        """Return the stored queue; None if there is none.

        Raises:
            StorageError: the store cannot be read, or it holds something else.
        """
        return self._read(self._items, _queue)

    def progress(self) -> Progress:
        """Return the stored progress. Raises StorageError."""
        return self._read(self._progress, _parsed_progress) or Progress()

    def update(self, change: Callable[[Progress], Progress]) -> None:
        """Replace the stored progress by what ``change`` makes of it. Raises StorageError."""

        def changed(data: bytes | None) -> bytes | None:
            """Return the new progress; None if it is the old one."""
            before = Progress() if data is None else self._parse(self._progress, data, _parsed_progress)
            after = change(before)
            return None if after == before else _progress_json(after)

        update(self._storage, self._progress, changed)

    def _read(self, key: str, make: Callable[[Any], T]) -> T | None:
        try:
            data = self._storage.read(key)
        except NotFoundError:
            return None
        return self._parse(key, data, make)

    def _parse(self, key: str, data: bytes, make: Callable[[Any], T]) -> T:
        try:
            return make(json.loads(data))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StorageError(
                f"{self._storage.url(key)} is no queue of tlnlp ({type(error).__name__}); move it away, and run "
                "`tlnlp queue` again"
            ) from error


def now() -> float:
    """Return the seconds since 1970."""
    return time.time()


def _queue(values: Mapping[str, Any]) -> Queue:
    items = tuple(
        QueueItem(_document(one["document"]), str(one["why"]), tuple(map(_document, one["duplicates"])))
        for one in values["items"]
    )
    return Queue(
        score_date=str(values["score_date"]),
        run_id=str(values["run_id"]),
        model=str(values["model"]),
        model_version=int(values["model_version"]),
        classes=tuple(map(str, values["classes"])),
        items=items,
        known=tuple(map(_document, values["known"])),
    )


def _document(values: Mapping[str, Any]) -> QueueDocument:
    document_id, digest, label = (str(values[name]) for name in ("document_id", "text_sha256", "label"))
    return QueueDocument(document_id, digest, label, float(values["score"]))


def _parsed_progress(values: Mapping[str, Any]) -> Progress:
    claims = {str(name): (str(person), float(until)) for name, (person, until) in values["claims"].items()}
    skipped = {
        str(name): {str(person): float(at) for person, at in people.items()}
        for name, people in values["skipped"].items()
    }
    return Progress(claims, skipped)


def _progress_json(progress: Progress) -> bytes:
    return json.dumps({"claims": progress.claims, "skipped": progress.skipped}, indent=1).encode()
