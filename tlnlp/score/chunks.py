"""The pieces of a night: rows scored by the model, chunk by chunk; rows copied from earlier days; the quarantine."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pyspark.accumulators import Accumulator
from pyspark.sql import Column as SparkColumn
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from tlnlp.config import ScoreSettings
from tlnlp.model import bundle
from tlnlp.registry import ModelVersion
from tlnlp.runs.background import repeated
from tlnlp.runs.progress import meter
from tlnlp.score import contract
from tlnlp.score.session import spark_input, translated
from tlnlp.score.staging import Piece, PreparedRows, Staging
from tlnlp.score.udf import PeakParam, batch_scorer, spark_udf
from tlnlp.warehouse.schema import QUARANTINE, SCORES, Column, spark_ddl

STAGE = "encoder"
ROWS_PER_TASK = 5_000
POLL_S = 1.0


class ChunkScorer:
    """The model on the cluster: its bundle is broadcast once, and each chunk of texts is one Spark job."""

    def __init__(
        self, spark: SparkSession, folder: Path, digest: str, model: ModelVersion, settings: ScoreSettings, run_id: str
    ) -> None:
        self.spark, self.model, self.settings, self.run_id = spark, model, settings, run_id
        self.spec = bundle.read_spec(folder)
        self.seconds = 0.0
        context = spark.sparkContext
        threads = int(context.getConf().get("spark.task.cpus", "1") or 1)
        self._peak: Accumulator[int] = context.accumulator(0, PeakParam())
        self._rows: Accumulator[int] = context.accumulator(0)
        files = context.broadcast(bundle.scoring_files(folder))
        scorer = batch_scorer(files, digest, threads, settings.batch_size, self._peak, self._rows)
        self._udf = spark_udf(scorer, len(self.spec.classes))

    @property
    def peak_worker_bytes(self) -> int:
        """Largest resident set of a Python worker so far; 0 before the first batch."""
        return int(self._peak.value)

    @property
    def rows_done(self) -> int:
        """Rows that finished tasks have scored; those of a task that was repeated count twice."""
        return int(self._rows.value)

    def try_out(self, frame: DataFrame, rows: int, kept: Sequence[Column]) -> None:
        """Score ``frame`` (about so many rows) as a chunk is scored, and keep nothing."""
        with translated("trying a sample"):
            self._scored(frame, rows, kept).write.format("noop").mode("overwrite").save()

    def score_chunks(
        self,
        staging: Staging,
        prepared: PreparedRows,
        kept: Sequence[Column],
        chunk_rows: int,
        before_chunk: Callable[[int, int], None],
    ) -> list[Piece]:
        """Score every text that needs it; one piece a chunk of about ``chunk_rows`` rows.

        ``before_chunk(rows scored, rows to come)`` may raise to stop between chunks; finished pieces stay.
        """
        pieces: list[Piece] = []
        if not prepared.count(contract.SCORE):
            return pieces
        started = time.monotonic()
        with self._watched(prepared.count(contract.SCORE)):
            for number, buckets in enumerate(prepared.chunks(contract.SCORE, chunk_rows)):
                rows = sum(prepared.rows[contract.SCORE][bucket] for bucket in buckets)
                before_chunk(sum(piece.rows for piece in pieces), rows)
                frame = self.spark.read.parquet(*prepared.folders(contract.SCORE, buckets))
                pieces.append(staging.write(f"scores-{number:04d}", self._scored(frame, rows, kept), "scoring"))
        self.seconds = time.monotonic() - started
        return pieces

    def distinct_texts(self, pieces: Sequence[Piece]) -> int:
        """How many texts the pieces' rows have between them."""
        files = [spark_input(file) for piece in pieces for file in piece.files if "/scores-" in file]
        if not files:
            return 0
        with translated("counting texts"):
            return self.spark.read.parquet(*files).select("text_sha256").distinct().count()

    def _scored(self, frame: DataFrame, rows: int, kept: Sequence[Column]) -> DataFrame:
        least = self.settings.spark.shuffle_partitions or self.spark.sparkContext.defaultParallelism
        # A multiple, so that the last round of tasks leaves no core idle.
        partitions = least * math.ceil(max(1, rows) / ROWS_PER_TASK / least)
        # Equal texts meet in one task, side by side: each is read by the model once.
        frame = frame.repartition(partitions, "text_sha256").sortWithinPartitions("text_sha256")
        frame = frame.withColumn("_result", self._udf("text", "text_sha256"))
        frame = frame.withColumn("_p", F.array(*[f"_result.p{k}" for k in range(len(self.spec.classes))]))
        labels = F.array(*[F.lit(label) for label in self.spec.classes])
        best = F.array_max("_p")
        scored = frame.select(
            "document_id",
            F.element_at(labels, F.array_position(F.col("_p"), best).cast("int")).alias("label"),
            best.alias("score"),
            F.map_from_arrays(labels, F.col("_p")).alias("probabilities"),
            "text_sha256",
            F.lit(STAGE).alias("stage"),
            *_stamp(self.model, self.settings, self.run_id),
            F.current_timestamp().alias("scored_at"),
            *contract.kept_columns(kept),
        )
        return in_files(scored, rows, self.settings.file_rows)

    @contextmanager
    def _watched(self, total: int) -> Iterator[None]:
        """Show how many rows the finished tasks have scored; for the eye only, counts come from footers."""
        with meter("scoring", total) as shown:
            before = self.rows_done
            with repeated(lambda: shown.update(min(self.rows_done - before, total)), POLL_S):
                yield
            shown.update(total)


def in_files(rows: DataFrame, count: int, file_rows: int) -> DataFrame:
    """The rows, dealt to as many tasks as there shall be files: scoring wants many small tasks, readers a few files."""
    return rows.repartition(max(1, math.ceil(count / file_rows)), "document_id")


def reused_rows(
    spark: SparkSession,
    prepared: PreparedRows,
    model: ModelVersion,
    settings: ScoreSettings,
    run_id: str,
    kept: Sequence[Column],
) -> DataFrame:
    """Rows whose text this model version has read before: its score as it was, this run's id."""
    frame = spark.read.parquet(*prepared.folders(contract.REUSED, prepared.buckets(contract.REUSED)))
    stamped = _stamp(model, settings, run_id)
    names = [column.name for column in SCORES]
    first, last = names[: names.index("model")], names[names.index("score_date") + 1 :]
    rows = frame.select(*first, *stamped, *last, *contract.kept_columns(kept))
    return in_files(rows, prepared.count(contract.REUSED), settings.file_rows)


def quarantine_rows(spark: SparkSession, prepared: PreparedRows, settings: ScoreSettings, run_id: str) -> DataFrame:
    """The rows that are not scored, each with its reason; never their text."""
    buckets = prepared.buckets(contract.QUARANTINED)
    if not buckets:
        return spark.createDataFrame([], spark_ddl(QUARANTINE))
    frame = spark.read.parquet(*prepared.folders(contract.QUARANTINED, buckets))
    detail = F.coalesce(*[F.when(F.col("reason") == reason, F.lit(text)) for reason, text in DETAILS.items()])
    return frame.select(
        "document_id",
        "reason",
        detail.alias("detail"),
        "source",
        F.lit(run_id).alias("run_id"),
        F.lit(settings.score_date).alias("score_date"),
    )


DETAILS = {
    "malformed_record": "the record does not parse, or a kept column is of another type than in the first records",
    "missing_id": "the id is null, blank or not UTF-8",
    "null_text": "the text is null",
    "empty_text": "the text is empty",
    "blank_text": "the text is white space only",
    "not_text": "the content is binary, not UTF-8, or not a string",
    "over_max_bytes": "the text is longer than max_bytes",
    "conflicting_id": "the same id stands with different texts",
}


def _stamp(model: ModelVersion, settings: ScoreSettings, run_id: str) -> list[SparkColumn]:
    return [
        F.lit(model.name).alias("model"),
        F.lit(model.version).cast("bigint").alias("model_version"),
        F.lit(run_id).alias("run_id"),
        F.lit(settings.score_date).alias("score_date"),
    ]
