"""Decide the outcome of each input row: score it, copy a previous score, drop a duplicate, or quarantine it.

Only Spark expressions are used here. So the only texts that travel to Python are those that the model scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from tlnlp.data.text import BLANK_CLASS, BREAK_TAG, CONTROL_CLASS, CUT_MARK, MAX_CONTROL_SHARE, cut_lengths
from tlnlp.warehouse.schema import Column as TableColumn

SCORE, REUSED, UNCHANGED = "score", "reused", "unchanged"
DUPLICATE, QUARANTINED = "duplicate", "quarantined"
OUTCOMES = (SCORE, REUSED, UNCHANGED, DUPLICATE, QUARANTINED)
# The prepared rows are split by a hash of the text into so many folders; a chunk is one or more of them. Each folder
# costs each task a file, so rows that are one chunk are split into fewer, of at least so many rows.
BUCKETS, BUCKET_ROWS = 64, 2_500
# Kept columns are renamed while rows are prepared, because their own names may collide with the columns used here.
KEPT = "_kept_"
_BLANK = rf"^[{BLANK_CLASS}]*$"
_BREAK_TAG = rf"(?i){BREAK_TAG}"
# What a text begins with that may hold nothing else.
_BREAK_FIRST = rf"(?i)^[{BLANK_CLASS}]*<br"
COPIED = ("label", "score", "probabilities", "stage", "scored_by", "scored_at")


@dataclass(frozen=True)
class Limits:
    """Limits on the length of a text.

    ``max_bytes``: a text with more bytes of UTF-8 is quarantined. ``max_chars``: a text with more characters is cut.
    """

    max_bytes: int
    max_chars: int


@dataclass(frozen=True)
class PreviousScores:
    """What earlier runs have scored.

    ``scored``: one row per text that this bundle and engine have scored, with columns ``text_sha256`` and ``COPIED``.
    ``latest``: one row per document of earlier days, with columns ``document_id``, ``latest_sha256`` and the kept
    columns (see ``latest_name``). Either is None if it is not available or not needed.
    """

    scored: DataFrame | None = None
    latest: DataFrame | None = None


def _shown_id() -> Column:
    """Return the id as text; one that is not UTF-8 with escapes for bytes that are not ASCII, so that ids differ."""
    identifier = F.col("document_id")
    data = identifier.cast("binary")

    def shown(place: Column) -> Column:
        """Return the byte at a place, from 1, as text."""
        byte = F.substr(data, place, F.lit(1))
        is_plain = byte.between(F.lit(bytearray(b" ")), F.lit(bytearray(b"~"))) & (byte != F.lit(bytearray(b"\\")))
        return F.when(is_plain, byte.cast("string")).otherwise(F.concat(F.lit("\\x"), F.lower(F.hex(byte))))

    escaped = F.concat_ws("", F.transform(F.sequence(F.lit(1), F.length(data)), shown))
    return F.when(F.is_valid_utf8(identifier), identifier).when(F.length(data) > 0, escaped)


def bucket_count(rows: int | None, chunk_rows: int) -> int:
    """Return how many buckets rows are split into, which are scored in chunks of about ``chunk_rows``.

    Args:
        rows: the number of rows; None if it is not known yet.
    """
    if rows is None or rows > chunk_rows:
        return BUCKETS
    return max(1, min(BUCKETS, rows // BUCKET_ROWS))


def prepare_rows(documents: DataFrame, limits: Limits, previous: PreviousScores, buckets: int = BUCKETS) -> DataFrame:
    """Return one row for each row of ``documents``, with its ``outcome`` and the columns that later steps need.

    Args:
        documents: columns ``document_id, text, source, fault, detail`` and the kept columns (see ``kept_name``).
        buckets: number of buckets (see ``bucket_count``).

    Returns:
        Adds ``text_sha256``, ``reason`` (of quarantine, else null), ``outcome`` (one of ``OUTCOMES``), ``bucket`` and
        the columns ``COPIED``. ``text`` is null except in rows to be scored.
    """
    rows = documents.withColumn("text_sha256", F.sha2(F.col("text").cast("binary"), 256))
    rows = rows.withColumn("reason", _reason(limits)).withColumn("document_id", _shown_id())
    # A long text is cut before the shuffle, to move fewer bytes. Its hash is that of the whole text.
    rows = rows.withColumn("text", F.when(F.col("reason").isNull(), cut_expression(limits.max_chars)))
    rows = _resolve_ids(rows)
    rows = _match_previous(rows, previous)
    return rows.withColumn(
        "bucket", F.pmod(F.xxhash64(F.coalesce("text_sha256", F.lit(""))), F.lit(buckets)).cast("int")
    )


def kept_name(number: int) -> str:
    """Return the name of the kept column ``number`` (from 0) in the prepared rows."""
    return f"{KEPT}{number}"


def latest_name(number: int) -> str:
    """Return the name of the kept column ``number`` in the latest rows of documents (see ``PreviousScores``)."""
    return f"_latest{kept_name(number)}"


def kept_columns(columns: Sequence[TableColumn]) -> list[Column]:
    """Return expressions that give the kept columns of the prepared rows their own names again."""
    return [F.col(kept_name(number)).alias(column.name) for number, column in enumerate(columns)]


def cut_expression(max_chars: int) -> Column:
    """Return ``tlnlp.data.text.cut`` as a Spark expression on the column ``text``."""
    head, tail = cut_lengths(max_chars)
    text = F.col("text")
    shortened = F.concat(text.substr(F.lit(1), F.lit(head)), F.lit(CUT_MARK), text.substr(F.lit(-tail), F.lit(tail)))
    return F.when(F.length(text) > max_chars, shortened).otherwise(text)


def _reason(limits: Limits) -> Column:
    """Return the first reason that applies for quarantining a row, or null."""
    text, identifier = F.col("text"), F.col("document_id")
    without_breaks = F.when(text.rlike(_BREAK_FIRST), F.regexp_replace(text, _BREAK_TAG, "")).otherwise(text)
    # Few characters are control characters, so to remove these is much faster than to remove all others.
    control = F.length(text) - F.length(F.regexp_replace(text, f"[{CONTROL_CLASS}]", ""))
    return (
        F.when(F.col("fault").isNotNull(), F.col("fault"))
        .when(identifier.isNull() | ~F.is_valid_utf8(identifier) | identifier.rlike(_BLANK), F.lit("missing_id"))
        .when(text.isNull(), F.lit("null_text"))
        .when(F.octet_length(text) == 0, F.lit("empty_text"))
        .when(F.octet_length(text) > limits.max_bytes, F.lit("over_max_bytes"))
        .when(~F.is_valid_utf8(text), F.lit("not_text"))
        .when(without_breaks.rlike(_BLANK), F.lit("blank_text"))
        .when(text.contains("\x00") | (control > F.length(text) * MAX_CONTROL_SHARE), F.lit("not_text"))
        .otherwise(F.lit(None).cast("string"))
    )


def _resolve_ids(rows: DataFrame) -> DataFrame:
    """Quarantine all rows of an id that has several texts; mark repeated rows as duplicates.

    Of several rows with the same id and text, one is scored. The choice does not depend on the partitioning.
    """
    # Each row that has a fault forms its own group. Its text must not conflict with the other rows of its id, and rows
    # without an id would otherwise all meet in one task.
    alone = F.concat(F.lit("\x00"), F.monotonically_increasing_id().cast("string"))
    rows = rows.withColumn("_group", F.when(F.col("reason").isNull(), F.col("document_id")).otherwise(alone))
    group = Window.partitionBy("_group")
    kept = [F.col(name) for name in rows.columns if name.startswith(KEPT)]
    order = group.orderBy(F.xxhash64(*kept, F.col("source")), F.col("source"))
    rows = rows.withColumn("_differ", F.min("text_sha256").over(group) != F.max("text_sha256").over(group))
    rows = rows.withColumn("_place", F.row_number().over(order))
    conflicting = F.col("reason").isNull() & F.coalesce("_differ", F.lit(False))
    rows = rows.withColumn("reason", F.when(conflicting, F.lit("conflicting_id")).otherwise(F.col("reason")))
    outcome = (
        F.when(F.col("reason").isNotNull(), F.lit(QUARANTINED))
        .when(F.col("_place") > 1, F.lit(DUPLICATE))
        .otherwise(F.lit(SCORE))
    )
    return rows.withColumn("outcome", outcome).drop("_group", "_differ", "_place", "fault")


def _match_previous(rows: DataFrame, previous: PreviousScores) -> DataFrame:
    """Mark rows whose document is unchanged, and rows whose text has a score already, which is joined to them."""
    to_score = F.col("outcome") == SCORE
    if previous.latest is not None:
        rows = rows.join(previous.latest, "document_id", "left")
        same = to_score & (F.col("latest_sha256") == F.col("text_sha256"))
        kept = [name for name in rows.columns if name.startswith(KEPT)]
        for number in range(len(kept)):
            same &= F.col(kept_name(number)).eqNullSafe(F.col(latest_name(number)))
        rows = rows.withColumn("outcome", F.when(same, F.lit(UNCHANGED)).otherwise(F.col("outcome")))
        rows = rows.drop("latest_sha256", *(latest_name(number) for number in range(len(kept))))
    if previous.scored is not None:
        rows = rows.join(previous.scored, "text_sha256", "left")
        known = to_score & F.col("label").isNotNull()
        rows = rows.withColumn("outcome", F.when(known, F.lit(REUSED)).otherwise(F.col("outcome")))
    else:
        rows = rows.withColumns({name: F.lit(None).cast(_COPIED_TYPES[name]) for name in COPIED})
    # Only the model reads texts again, so the other texts are not staged.
    return rows.withColumn("text", F.when(F.col("outcome") == SCORE, F.col("text")))


_COPIED_TYPES = {
    "label": "string",
    "score": "double",
    "probabilities": "map<string,double>",
    "stage": "string",
    "scored_by": "string",
    "scored_at": "timestamp",
}
