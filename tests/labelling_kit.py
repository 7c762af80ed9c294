"""A night of made-up documents with its texts, and what labelling them needs."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import kit
from nights_kit import publish

from tlnlp.config import QueueSettings
from tlnlp.labelling.answers import Answer, Answers
from tlnlp.labelling.queue_file import Queue, QueueDocument, QueueFile, QueueItem
from tlnlp.labelling.session import LabelSession
from tlnlp.model.classifier import Classifier
from tlnlp.registry import Registry

DAY = date(2026, 11, 21)


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def scored_night(folder: Path, bundle: Path, texts: Sequence[str]) -> QueueSettings:
    """Publish a night of texts with the scores of a bundle, version 1 of ``moods``; return settings of a queue."""
    Registry(str(folder / "registry")).publish("moods", bundle)
    documents = [{"id": f"d{number}", "text": text} for number, text in enumerate(texts)]
    source = kit.write_jsonl(folder / "documents" / "part.jsonl", documents).parent.as_uri()
    classifier = Classifier.load(bundle, 1)
    rows = [
        {
            "document_id": one["id"],
            "label": classifier.classes[int(found.argmax())],
            "score": float(found.max()),
            "probabilities": list(zip(classifier.classes, map(float, found), strict=True)),
            "text_sha256": sha256(one["text"]),
            "stage": "encoder",
            "scored_by": f"onnx-fp32@{classifier.digest[:16]}",
            "model": "moods",
            "model_version": 1,
            "scored_at": datetime(2026, 11, 21, 23, tzinfo=UTC),
        }
        for one, found in zip(documents, classifier.predict(texts), strict=True)
    ]
    publish(folder / "warehouse", DAY, rows, rejected=(), kept=(), source=source)
    places = {name: str(folder / name) for name in ("registry", "warehouse", "labels", "queue")}
    return QueueSettings(**places, size=10, candidates=40)


def answer(number: int, label: str = "positive", person: str = "ada", **changes: Any) -> Answer:
    """Return an answer to a made-up document."""
    values: dict[str, Any] = {
        "document_id": f"d{number}",
        "text_sha256": sha256(f"text {number}"),
        "label": label,
        "labelled_by": person,
        "labelled_at": f"2026-11-22T09:00:{number:02}+00:00",
        "predicted": "positive",
        "score": 0.6,
        "model": "moods",
        "model_version": 1,
        "score_date": "2026-11-21",
        "why": "random",
    }
    return Answer(**values | changes)


def document(number: int, text: str | None = None) -> QueueDocument:
    """Return a document of a queue; its text is ``text <number>`` unless another is given."""
    return QueueDocument(f"d{number}", sha256(text or f"text {number}"), "positive", 0.6)


def item(number: int, why: str = "random", duplicates: Sequence[int] = ()) -> QueueItem:
    """Return an item of a queue."""
    return QueueItem(document(number), why, tuple(map(document, duplicates)))


def queue_of(*items: QueueItem, known: Sequence[QueueDocument] = ()) -> Queue:
    return Queue("2026-11-21", "run", "moods", 1, ("negative", "positive"), items, tuple(known))


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1_764_000_000.0

    def __call__(self) -> float:
        self.now += 0.001
        return self.now


def session(folder: Path, *items: QueueItem, clock: Clock | None = None) -> LabelSession:
    """Return a session over a stored queue of these items."""
    file = QueueFile(str(folder / "queue"), "scores")
    file.write(queue_of(*items))
    return LabelSession(Answers(str(folder / "labels"), "text", "label"), file, clock or Clock())
