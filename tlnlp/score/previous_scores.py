"""Load what earlier runs have scored as Spark frames: scores to copy, and the latest text of each document.

The scores come from the table and from the finished pieces of unfinished runs of the same bundle.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from pyiceberg.catalog import Catalog
from pyiceberg.expressions import BooleanExpression
from pyiceberg.expressions.parser import parse
from pyiceberg.table import Table
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from tlnlp.config import ScoreSettings
from tlnlp.model.profile import ONNX_FP32
from tlnlp.registry import ModelVersion
from tlnlp.score.contract import COPIED, PreviousScores, latest_name
from tlnlp.score.session import spark_input
from tlnlp.score.source_files import quoted
from tlnlp.warehouse.schema import SCORES, Column, spark_ddl
from tlnlp.warehouse.tables import load_table


def previous_scores(
    spark: SparkSession,
    catalog: Catalog,
    settings: ScoreSettings,
    model: ModelVersion,
    scored_by: str,
    staged_files: Sequence[str],
    kept: Sequence[Column] = (),
) -> PreviousScores:
    """Return lazy frames of the scores in the table's current files and in ``staged_files``.

    Only scores by the same bundle and engine are copied. Rows of an earlier tlnlp do not name them; they are of the
    reference engine. A text with several scores gets the newest. The latest text and kept values of each document are
    loaded only in the incremental mode.

    Args:
        scored_by: bundle and engine of this run (see ``Profile.scored_by``).
        kept: the kept columns, with the types of the table.
    """
    table = load_table(catalog, settings.table)
    table_files = [] if table is None else _table_files(table, parse(f"model_version == {model.version}"))
    scored = _frame(spark, [*table_files, *staged_files])
    if scored is not None:
        copied = F.max_by(F.struct(*COPIED), "scored_at").alias("copied")
        same = F.col("scored_by") == scored_by
        if scored_by.startswith(f"{ONNX_FP32}@"):
            same |= F.col("scored_by").isNull()
        scored = scored.where(same & (F.col("model_version") == model.version)).groupBy("text_sha256").agg(copied)
        scored = scored.select("text_sha256", "copied.*")
    latest = None
    if table is not None and settings.mode == "incremental":
        latest = _latest(spark, table, settings.score_date, kept)
    return PreviousScores(scored, latest)


def _latest(spark: SparkSession, table: Table, day: date, kept: Sequence[Column]) -> DataFrame | None:
    """Return each document's latest text before ``day``, as sha256, with its kept values."""
    frame = _frame(spark, _table_files(table, parse(f"score_date < '{day.isoformat()}'")), kept)
    if frame is None:
        return None
    frame = frame.where(F.col("score_date") < F.lit(day))
    names = [quoted(column.name).alias(latest_name(number)) for number, column in enumerate(kept)]
    values = F.struct(F.col("text_sha256").alias("latest_sha256"), *names)
    latest = frame.groupBy("document_id").agg(F.max_by(values, "score_date").alias("latest"))
    return latest.select("document_id", "latest.*")


def _table_files(table: Table, wanted: BooleanExpression) -> list[str]:
    """Return the current files of the table that may hold matching rows."""
    return sorted({task.file.file_path for task in table.scan(row_filter=wanted).plan_files()})


def _frame(spark: SparkSession, files: Sequence[str], kept: Sequence[Column] = ()) -> DataFrame | None:
    """Return the rows of files; a kept column that a file lacks is null."""
    if not files:
        return None
    return spark.read.schema(spark_ddl([*SCORES, *kept])).parquet(*[spark_input(file) for file in files])
