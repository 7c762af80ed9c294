"""What becomes of each row of the input: scored, copied, left out as a duplicate, or quarantined with a reason.

All of it in Spark's own expressions, so that nothing but texts to be scored ever travels to Python.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from tlnlp.data.text import CUT_MARK, MAX_CONTROL_SHARE, cut_lengths
from tlnlp.warehouse.schema import Column as TableColumn

SCORE, REUSED, UNCHANGED = "score", "reused", "unchanged"
DUPLICATE, QUARANTINED = "duplicate", "quarantined"
OUTCOMES = (SCORE, REUSED, UNCHANGED, DUPLICATE, QUARANTINED)
# Folders of prepared rows are split by text into so many; a chunk of the night is one or more of them.
BUCKETS = 64
# Kept columns travel under names of ours: their own may be those of columns that are needed on the way.
KEPT = "_kept_"
_BLANK = r"(?U)^\s*$"
COPIED = ("label", "score", "probabilities", "stage", "scored_at")


@dataclass(frozen=True)
class Limits:
    """``max_bytes``: UTF-8 length over which a text is quarantined; ``max_chars``: over which it is cut."""

    max_bytes: int
    max_chars: int


@dataclass(frozen=True)
class Earlier:
    """What the table holds already: scores by text of this model version, and the latest text by document.

    ``scored``: columns ``text_sha256`` and COPIED, a row a text. ``latest``: ``document_id, latest_sha256``.
    """

    scored: DataFrame | None = None
    latest: DataFrame | None = None


def prepare_rows(documents: DataFrame, limits: Limits, earlier: Earlier) -> DataFrame:
    """One row for each row of ``documents``, with its ``outcome``, ``bucket`` and what later steps need.

    Args:
        documents: columns ``document_id, text, source, fault`` and the kept ones (see ``kept_name``).
    """
    rows = documents.withColumn("text_sha256", F.sha2(F.col("text").cast("binary"), 256))
    rows = rows.withColumn("reason", _reason(limits)).withColumn("document_id", F.make_valid_utf8("document_id"))
    # A long text is cut here, before it is shuffled; its hash is that of the whole.
    rows = rows.withColumn("text", F.when(F.col("reason").isNull(), cut_expression(limits.max_chars)))
    rows = _settle_ids(rows)
    rows = _settle_earlier(rows, earlier)
    return rows.withColumn(
        "bucket", F.pmod(F.xxhash64(F.coalesce("text_sha256", F.lit(""))), F.lit(BUCKETS)).cast("int")
    )


def kept_name(number: int) -> str:
    """The name under which the kept column of that number travels."""
    return f"{KEPT}{number}"


def kept_columns(kept: Sequence[TableColumn]) -> list[Column]:
    """The kept columns under their own names again, as the table has them."""
    return [F.col(kept_name(number)).alias(column.name) for number, column in enumerate(kept)]


def cut_expression(max_chars: int) -> Column:
    """``tlnlp.data.text.cut`` as an expression on the column ``text``."""
    head, tail = cut_lengths(max_chars)
    text = F.col("text")
    shortened = F.concat(text.substr(F.lit(1), F.lit(head)), F.lit(CUT_MARK), text.substr(F.lit(-tail), F.lit(tail)))
    return F.when(F.length(text) > max_chars, shortened).otherwise(text)


def _reason(limits: Limits) -> Column:
    text, identifier = F.col("text"), F.col("document_id")
    control = F.length(F.regexp_replace(text, r"[^\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f\ufffd]", ""))
    return (
        F.when(F.col("fault").isNotNull(), F.col("fault"))
        .when(identifier.isNull() | ~F.is_valid_utf8(identifier) | identifier.rlike(_BLANK), F.lit("missing_id"))
        .when(text.isNull(), F.lit("null_text"))
        .when(F.octet_length(text) == 0, F.lit("empty_text"))
        .when(F.octet_length(text) > limits.max_bytes, F.lit("over_max_bytes"))
        .when(~F.is_valid_utf8(text), F.lit("not_text"))
        .when(text.rlike(_BLANK), F.lit("blank_text"))
        .when(text.contains("\x00") | (control > F.length(text) * MAX_CONTROL_SHARE), F.lit("not_text"))
        .otherwise(F.lit(None).cast("string"))
    )


def _settle_ids(rows: DataFrame) -> DataFrame:
    """Same id, different texts: all quarantined. Same id, same text: one row stays, chosen the same way each time."""
    # Faulty rows get a group of their own each: they say nothing about an id, and null ids would pile up in one task.
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


def _settle_earlier(rows: DataFrame, earlier: Earlier) -> DataFrame:
    open_rows = F.col("outcome") == SCORE
    if earlier.latest is not None:
        rows = rows.join(earlier.latest, "document_id", "left")
        same = open_rows & (F.col("latest_sha256") == F.col("text_sha256"))
        rows = rows.withColumn("outcome", F.when(same, F.lit(UNCHANGED)).otherwise(F.col("outcome")))
        rows = rows.drop("latest_sha256")
    if earlier.scored is not None:
        rows = rows.join(earlier.scored, "text_sha256", "left")
        known = open_rows & F.col("label").isNotNull()
        rows = rows.withColumn("outcome", F.when(known, F.lit(REUSED)).otherwise(F.col("outcome")))
    else:
        rows = rows.withColumns({name: F.lit(None).cast(_COPIED_TYPES[name]) for name in COPIED})
    # A text that nobody reads again need not be staged.
    return rows.withColumn("text", F.when(F.col("outcome") == SCORE, F.col("text")))


_COPIED_TYPES = {
    "label": "string",
    "score": "double",
    "probabilities": "map<string,double>",
    "stage": "string",
    "scored_at": "timestamp",
}
