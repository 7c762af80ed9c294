"""Estimate how often a version is right on the documents of its nights, from people's labels of a random sample."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tlnlp.evaluate.intervals import wilson
from tlnlp.labelling.answers import Answer, conflicts
from tlnlp.labelling.queue_file import Queue
from tlnlp.labelling.selection import RANDOM


@dataclass(frozen=True)
class AccuracyEstimate:
    """How often a version is right: ``right`` of ``n`` random documents, and the 95% interval of its accuracy."""

    model: str
    model_version: int
    n: int
    right: int
    low: float
    high: float

    @property
    def accuracy(self) -> float:
        """Return the share that is right."""
        return self.right / self.n

    def to_json(self) -> dict[str, Any]:
        """Return all values as a JSON object."""
        return asdict(self) | {"accuracy": self.accuracy}

    def __str__(self) -> str:
        return (
            f"{self.model}@{self.model_version}: {self.accuracy:.0%} right ({self.low:.0%} to {self.high:.0%}) on "
            f"{self.n:,} random documents"
        )


def estimate(answers: Sequence[Answer], queue: Queue) -> AccuracyEstimate | None:
    """Return how often the version of a queue is right; None without a label of a random document.

    The random documents of the queue's night count whoever labelled them and why, so that the sample does not lose
    those that were asked for another reason before. Of other nights of the version, the answers to random documents
    count. A text that people label differently has no known label, so its documents are left out.

    Source of the interval: Wilson 1927.
    """
    hits = dict(_hits(answers, queue))
    if not hits:
        return None
    right = sum(hits.values())
    return AccuracyEstimate(queue.model, queue.model_version, len(hits), right, *wilson(right, len(hits)))


def _hits(answers: Sequence[Answer], queue: Queue) -> Iterator[tuple[tuple[str, str], bool]]:
    """Yield night and id of each random document with a known label, and whether its prediction is that label."""
    disputed = conflicts(answers)
    labels = {one.text_sha256: one.label for one in answers if one.text_sha256 not in disputed}
    for one in answers:
        is_of_version = (one.model, one.model_version) == (queue.model, queue.model_version)
        if is_of_version and one.why == RANDOM and one.text_sha256 not in disputed:
            yield (one.score_date, one.document_id), one.label == one.predicted
    drawn = (*queue.known, *(item.document for item in queue.items if item.why == RANDOM))
    for document in drawn:
        if (label := labels.get(document.text_sha256)) is not None:
            yield (queue.score_date, document.document_id), label == document.label
