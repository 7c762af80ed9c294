"""Settings of ``tlnlp queue``, and of the pages where people label; the complete file is ``conf/queue.yaml``.

The default of a key stands in its line; the text below the line says what the key means.
"""

from __future__ import annotations

from pydantic import Field

from tlnlp.config.base import Day, Settings, Uri
from tlnlp.config.shared import DEFAULT_WORKSPACE, RegistrySettings, TableSettings


class LabellingSettings(Settings):
    """Where labels are, where people add some, and where the queue of documents to label is."""

    labels: Uri = f"{DEFAULT_WORKSPACE}/labels"
    """Folder or URI of the labels. People's labels are added to ``answers.jsonl`` in it."""
    text_column: str = Field("text", min_length=1)
    """Column of the labels that holds the texts."""
    label_column: str = Field("label", min_length=1)
    """Column of the labels that holds the labels."""
    queue: Uri = f"{DEFAULT_WORKSPACE}/queue"
    """Folder or URI of the queue. It holds ids and scores, no texts."""


class QueueSettings(RegistrySettings, TableSettings, LabellingSettings):
    """Settings of ``tlnlp queue``."""

    score_date: Day | None = None
    """Day of the night whose documents are asked. None: the newest night."""
    documents: Uri | None = None
    """Path or URI of the documents, from which the texts are read. None: where the ledger of the night says that they
    were."""
    size: int = Field(50, ge=1, le=10_000)
    """Documents in the queue."""
    random_share: float = Field(0.2, ge=0, le=1)
    """Share of the queue that is drawn at random from the night. Their labels estimate how often the night is right."""
    candidates: int = Field(1000, ge=1, le=100_000)
    """Documents that are read to choose the others from: half of them the most doubtful, half drawn at random."""
