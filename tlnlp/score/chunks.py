"""Make the output rows of a night: rows that the model scores, in chunks; copied rows; quarantined rows.

The output of one Spark job is called a piece (``warehouse/run_folder.py``). Each chunk of scored rows is a piece.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pyspark.sql import Column as SparkColumn
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from tlnlp.config import ScoreSettings
from tlnlp.model import bundle
from tlnlp.model.bundle_spec import read_spec
from tlnlp.model.cascade import STAGES
from tlnlp.model.profile import CTRANSLATE2_CUDA_INT8
from tlnlp.registry import ModelVersion
from tlnlp.runs.background import repeated
from tlnlp.runs.progress import meter
from tlnlp.score import contract
from tlnlp.score.cascade_check import CascadeCheck, sample_border, summary
from tlnlp.score.evidence_column import EvidenceFinder, evidence_columns, has_evidence
from tlnlp.score.gpu_lease import check_leases
from tlnlp.score.night_counts import TextCounts
from tlnlp.score.scoring_profile import scoring_profile
from tlnlp.score.session import spark_errors, spark_input
from tlnlp.score.staging import PreparedRows, Staging, repartition_to_files
from tlnlp.score.udf import UNREAD, Meters, TextReader, batch_scorer, spark_udf
from tlnlp.warehouse.run_folder import Piece, chunk_name
from tlnlp.warehouse.schema import SCORES, Column

ROWS_PER_TASK = 5_000
POLL_S = 1.0


class ChunkScorer:
    """Score rows with the model on the cluster. The bundle is broadcast once; each chunk of rows is one Spark job.

    ``spec`` describes the bundle, ``profile`` is how it scores, and ``scored_by`` names both, as rows do. ``seconds``
    is the time that ``score_chunks`` has taken.
    """

    def __init__(
        self, spark: SparkSession, folder: Path, digest: str, model: ModelVersion, settings: ScoreSettings, run_id: str
    ) -> None:
        self.spark, self.model, self.settings, self.run_id = spark, model, settings, run_id
        self.spec = read_spec(folder)
        self.seconds = 0.0
        context = spark.sparkContext
        threads = int(context.getConf().get("spark.task.cpus", "1") or 1)
        self._meters = Meters.of(context)
        self.profile = scoring_profile(settings, self.spec, folder, model)
        if self.profile.engine == CTRANSLATE2_CUDA_INT8:
            with spark_errors("looking for GPUs"):
                check_leases(context)
        self.scored_by = self.profile.scored_by(digest)
        self._digest, self._threads = digest, threads
        self._files = context.broadcast(bundle.scoring_files(folder, self.profile.engine))
        self._reader, self._udf = self._scorer("", 0)

    def _scorer(self, border: str, rows: int) -> tuple[TextReader, Any]:
        """Return what reads texts, with all of its counts at zero, and the UDF.

        Args:
            border: texts with a digest below it are read by both views, too.
            rows: number of rows that will be read; 0: no text is counted, as in the sample of a plan.
        """
        context = self.spark.sparkContext
        check = CascadeCheck(border, *(context.accumulator(0) for _ in range(5)))
        evidence = EvidenceFinder.of(context, self.settings, self.spec.classes)
        reader = TextReader(check, TextCounts.of(context, rows), evidence)
        scorer = batch_scorer(self._files, self._digest, self.profile, self._threads, self._meters, reader)
        return reader, spark_udf(scorer, len(self.spec.classes), evidence is not None)

    @property
    def text_counts(self) -> dict[str, tuple[int, ...]]:
        """Return the counts of some of the texts that the chunks have, by statistic."""
        return self._reader.counts.by_statistic()

    def cascade_summary(self) -> dict[str, Any] | None:
        """Return what the night has seen of its cascade (see ``cascade_check.summary``); None without a cascade."""
        cascade = self.spec.cascades.get(self.profile.cascade)
        return None if cascade is None else summary(self._reader.check, cascade.limit)

    def evidence_summary(self) -> dict[str, Any] | None:
        """Return what the evidence of the night has cost (see ``EvidenceFinder``); None if none was asked for."""
        return None if self._reader.evidence is None else self._reader.evidence.summary()

    @property
    def peak_worker_bytes(self) -> int:
        """Return the largest resident set of a Python worker so far, in bytes; 0 before the first batch."""
        return int(self._meters.peak.value)

    @property
    def rows_done(self) -> int:
        """Return how many rows the finished tasks have scored. Rows of a repeated task count twice."""
        return int(self._meters.rows.value)

    @property
    def has_unread(self) -> bool:
        """Return whether memory was too little for a text, which then is in no piece."""
        return bool(self._meters.unread.value)

    def score_sample(self, frame: DataFrame, rows: int, kept_columns: Sequence[Column]) -> None:
        """Score ``frame``, which has about ``rows`` rows, in the way of a chunk, and discard the result."""
        with spark_errors("scoring a sample"):
            self._scored(frame, rows, kept_columns).write.format("noop").mode("overwrite").save()

    def score_chunks(
        self,
        staging: Staging,
        prepared: PreparedRows,
        kept_columns: Sequence[Column],
        chunk_rows: int,
        before_chunk: Callable[[int, int], None],
    ) -> list[Piece]:
        """Score every row with the outcome ``SCORE``, in chunks of about ``chunk_rows`` rows; return a piece per chunk.

        ``before_chunk`` is called with the number of rows scored so far and the number of rows of the next chunk. It
        may raise to stop the run between chunks; the finished pieces stay.
        """
        pieces: list[Piece] = []
        count = prepared.count(contract.SCORE)
        if not count:
            return pieces
        started = time.monotonic()
        self._reader, self._udf = self._scorer(sample_border(count), count)
        with self._progress(count):
            for number, buckets in enumerate(prepared.chunks(contract.SCORE, chunk_rows)):
                rows = sum(prepared.rows[contract.SCORE][bucket] for bucket in buckets)
                before_chunk(sum(piece.rows for piece in pieces), rows)
                frame = self.spark.read.parquet(*prepared.folders(contract.SCORE, buckets))
                scored = self._scored(frame, rows, kept_columns)
                pieces.append(staging.write(chunk_name(number), scored, "scoring"))
        self.seconds = time.monotonic() - started
        return pieces

    def distinct_texts(self, scored: Sequence[Piece]) -> int:
        """Return how many distinct texts the pieces of scores have."""
        files = [spark_input(file) for piece in scored for file in piece.files]
        if not files:
            return 0
        with spark_errors("counting the texts"):
            return self.spark.read.parquet(*files).select("text_sha256").distinct().count()

    def _scored(self, frame: DataFrame, rows: int, kept_columns: Sequence[Column]) -> DataFrame:
        """Return the rows of ``frame`` as the table ``scores`` has them."""
        least = self.settings.spark.shuffle_partitions or self.spark.sparkContext.defaultParallelism
        # A multiple of the tasks that run at once, so that no core is idle in the last round.
        partitions = least * math.ceil(max(1, rows) / ROWS_PER_TASK / least)
        # Equal texts become neighbours in one task, so the model reads each text once.
        frame = frame.repartition(partitions, "text_sha256").sortWithinPartitions("text_sha256")
        frame = frame.withColumn("_result", self._udf("text", "text_sha256"))
        frame = frame.withColumn("_p", F.array(*[f"_result.p{k}" for k in range(len(self.spec.classes))]))
        labels = F.array(*[F.lit(label) for label in self.spec.classes])
        best = F.array_max("_p")
        # What memory was too little for is quarantined (see ``unread_rows``).
        scored = frame.where(F.col("_result.stage") != UNREAD).select(
            "document_id",
            F.element_at(labels, F.array_position(F.col("_p"), best).cast("int")).alias("label"),
            best.alias("score"),
            F.map_from_arrays(labels, F.col("_p")).alias("probabilities"),
            "text_sha256",
            F.get(F.array(*[F.lit(stage) for stage in STAGES]), F.col("_result.stage").cast("int")).alias("stage"),
            F.lit(self.scored_by).alias("scored_by"),
            *_run_columns(self.model, self.settings, self.run_id),
            F.current_timestamp().alias("scored_at"),
            *contract.kept_columns(kept_columns),
            *(F.col(f"_result.{column.name}") for column in evidence_columns(self.settings)),
        )
        return repartition_to_files(scored, rows, self.settings.file_rows)

    @contextmanager
    def _progress(self, total: int) -> Iterator[None]:
        """Show how many rows the finished tasks have scored. The ledger's counts come from Parquet footers instead."""
        with meter("scoring", total) as shown:
            before = self.rows_done
            with repeated(lambda: shown.update(min(self.rows_done - before, total)), POLL_S):
                yield
            shown.update(total)


def reused_rows(
    spark: SparkSession,
    prepared: PreparedRows,
    model: ModelVersion,
    settings: ScoreSettings,
    run_id: str,
    kept_columns: Sequence[Column],
) -> DataFrame:
    """Return the rows with the outcome ``REUSED``: the previous score and its time, with this run's id and date."""
    frame = spark.read.parquet(*prepared.folders(contract.REUSED, prepared.buckets(contract.REUSED)))
    run_columns = _run_columns(model, settings, run_id)
    names = [column.name for column in SCORES]
    first, last = names[: names.index("model")], names[names.index("score_date") + 1 :]
    # A row that an earlier night has given evidence may be outside the filter of this one.
    evidence = [
        F.when(has_evidence(settings), F.col(column.name)).alias(column.name) for column in evidence_columns(settings)
    ]
    rows = frame.select(*first, *run_columns, *last, *contract.kept_columns(kept_columns), *evidence)
    return repartition_to_files(rows, prepared.count(contract.REUSED), settings.file_rows)


def unread_rows(spark: SparkSession, prepared: PreparedRows, scored: Sequence[Piece]) -> DataFrame:
    """Return the rows that were to be scored and are in no piece, since memory was too little for their texts."""
    rows = spark.read.parquet(*prepared.folders(contract.SCORE, prepared.buckets(contract.SCORE)))
    if files := [spark_input(file) for piece in scored for file in piece.files]:
        rows = rows.join(spark.read.parquet(*files).select("document_id"), "document_id", "left_anti")
    return rows.withColumn("reason", F.lit(OUT_OF_MEMORY))


def quarantine_rows(
    spark: SparkSession, prepared: PreparedRows, settings: ScoreSettings, run_id: str, unread: DataFrame | None = None
) -> DataFrame | None:
    """Return the quarantined rows, each with its reason and without its text; None if there are none.

    Args:
        unread: see ``unread_rows``; None if there are none.
    """
    buckets = prepared.buckets(contract.QUARANTINED)
    frame = spark.read.parquet(*prepared.folders(contract.QUARANTINED, buckets)) if buckets else unread
    if frame is None:
        return None
    columns = ("document_id", "reason", "detail", "source")
    frame = frame.select(*columns)
    if buckets and unread is not None:
        frame = frame.unionByName(unread.select(*columns))
    details = [F.when(F.col("reason") == reason, F.lit(text)) for reason, text in DETAILS.items()]
    return frame.select(
        "document_id",
        "reason",
        F.coalesce("detail", *details).alias("detail"),
        "source",
        F.lit(run_id).alias("run_id"),
        F.lit(settings.score_date).alias("score_date"),
    )


OUT_OF_MEMORY = "out_of_memory"
# The explanation of each quarantine reason, as the table ``quarantine`` has it.
DETAILS = {
    "malformed_record": "the record cannot be parsed",
    "missing_id": "the id is null, blank or not UTF-8",
    "null_text": "the text is null",
    "empty_text": "the text is empty",
    "blank_text": "the text is only white space and line-break tags",
    "not_text": "the content is binary, not UTF-8, or not a string",
    "over_max_bytes": "the text is longer than max_bytes",
    "conflicting_id": "several documents have this id and different texts",
    OUT_OF_MEMORY: "the workers have too little memory to read the text",
}


def _run_columns(model: ModelVersion, settings: ScoreSettings, run_id: str) -> list[SparkColumn]:
    """Return the columns that are the same in every row of a run."""
    return [
        F.lit(model.name).alias("model"),
        F.lit(model.version).cast("bigint").alias("model_version"),
        F.lit(run_id).alias("run_id"),
        F.lit(settings.score_date).alias("score_date"),
    ]
