"""Load what earlier runs have scored as Spark frames: scores to copy, and the latest text of each document.

The scores come from the table and from the finished pieces of unfinished runs of the same bundle.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from tlnlp.config import ScoreSettings
from tlnlp.model.profile import ONNX_FP32
from tlnlp.registry import ModelVersion
from tlnlp.score.contract import COPIED, PreviousScores, latest_name
from tlnlp.score.evidence_column import evidence_columns, has_evidence
from tlnlp.score.source_files import quoted
from tlnlp.score.table_history import TableHistory, read_rows
from tlnlp.warehouse.schema import Column


def previous_scores(
    spark: SparkSession,
    history: TableHistory,
    settings: ScoreSettings,
    model: ModelVersion,
    scored_by: str,
    staged_files: Sequence[str],
    kept: Sequence[Column] = (),
) -> PreviousScores:
    """Return lazy frames of the scores in the table's files and in ``staged_files``.

    Only scores by the same bundle and engine are copied. Rows of an earlier tlnlp do not name them; they are of the
    reference engine. If the night has evidence, a score without it is not copied where the filter names its document. A
    text with several scores gets the newest. The latest text and kept values of each document are
    loaded only in the incremental mode.

    Args:
        history: the files of the table.
        scored_by: bundle and engine of this run (see ``Profile.scored_by``).
        staged_files: URIs of the finished pieces of unfinished runs.
        kept: the kept columns, with the types of the table.
    """
    evidence = evidence_columns(settings)
    scored = read_rows(spark, [*history.files(settings.score_date), *staged_files], evidence)
    if scored is not None:
        names = [*COPIED, *(column.name for column in evidence)]
        copied = F.max_by(F.struct(*names), "scored_at").alias("copied")
        same = F.col("scored_by") == scored_by
        if scored_by.startswith(f"{ONNX_FP32}@"):
            same |= F.col("scored_by").isNull()
        for column in evidence:
            same &= F.col(column.name).isNotNull() | ~has_evidence(settings)
        scored = scored.where(same & (F.col("model_version") == model.version)).groupBy("text_sha256").agg(copied)
        scored = scored.select("text_sha256", "copied.*")
    latest = None
    if settings.mode == "incremental":
        latest = _latest(spark, history.files_before(settings.score_date), settings.score_date, kept)
    return PreviousScores(scored, latest)


def _latest(spark: SparkSession, files: Sequence[str], day: date, kept: Sequence[Column]) -> DataFrame | None:
    """Return each document's latest text before ``day``, as sha256, with its kept values."""
    frame = read_rows(spark, files, kept)
    if frame is None:
        return None
    frame = frame.where(F.col("score_date") < F.lit(day))
    names = [quoted(column.name).alias(latest_name(number)) for number, column in enumerate(kept)]
    values = F.struct(F.col("text_sha256").alias("latest_sha256"), *names)
    latest = frame.groupBy("document_id").agg(F.max_by(values, "score_date").alias("latest"))
    return latest.select("document_id", "latest.*")
