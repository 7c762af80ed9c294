"""Refuse a night whose input is empty, or too much of which would go to quarantine."""

from __future__ import annotations

from pyspark.sql import SparkSession

from tlnlp.config import ScoreSettings
from tlnlp.errors import NothingToPublishError
from tlnlp.score import contract
from tlnlp.score.line_source import no_documents
from tlnlp.score.staging import PreparedRows


def check_input(settings: ScoreSettings, prepared: PreparedRows, spark: SparkSession) -> None:
    """Raise NothingToPublishError if there is no document, or the quarantined share is above its limit."""
    rows = prepared.total
    if rows == 0:
        raise no_documents(settings)
    rejected = prepared.count(contract.QUARANTINED)
    if rejected > settings.max_quarantine_share * rows:
        reasons = ", ".join(f"{count} {reason}" for reason, count in _quarantine_reasons(prepared, spark))
        raise NothingToPublishError(
            f"{settings.documents}: quarantine would take {rejected} of {rows} documents ({reasons}), more "
            f"than max_quarantine_share={settings.max_quarantine_share}; nothing was published; correct the "
            "source, or raise max_quarantine_share if this share is expected"
        )


def check_unread(settings: ScoreSettings, prepared: PreparedRows, unread: int) -> None:
    """Raise NothingToPublishError if the share of quarantined rows is above its limit with those that were not read.

    Args:
        unread: number of rows whose text memory was too little for.
    """
    rejected = prepared.count(contract.QUARANTINED) + unread
    if rejected > settings.max_quarantine_share * prepared.total:
        raise NothingToPublishError(
            f"{settings.documents}: quarantine would take {rejected} of {prepared.total} documents, {unread} "
            "of them since the workers have too little memory to read their texts; nothing was published; give the "
            "workers more memory, or fine-tune with a smaller max_length"
        )


def _quarantine_reasons(prepared: PreparedRows, spark: SparkSession) -> list[tuple[str, int]]:
    frame = spark.read.parquet(*prepared.folders(contract.QUARANTINED, prepared.buckets(contract.QUARANTINED)))
    return sorted((str(row["reason"]), int(row["count"])) for row in frame.groupBy("reason").count().collect())
