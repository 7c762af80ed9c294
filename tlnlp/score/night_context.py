"""The start of a night, shared by scoring and planning: resolve the model, start Spark, read and classify the rows."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from pyiceberg.catalog import Catalog
from pyspark.sql import SparkSession

from tlnlp.config import ScoreSettings
from tlnlp.config.score import EvidenceFilter
from tlnlp.errors import InputDataError
from tlnlp.model import bundle
from tlnlp.registry import ModelVersion, Registry
from tlnlp.runs.progress import say
from tlnlp.score import contract, lease
from tlnlp.score.chunks import ChunkScorer
from tlnlp.score.day_lease import DayLease
from tlnlp.score.evidence_column import evidence_columns
from tlnlp.score.kept_values import check_values
from tlnlp.score.previous_scores import previous_scores
from tlnlp.score.resume import UnfinishedRuns
from tlnlp.score.session import report_session, spark_errors, spark_input, spark_session
from tlnlp.score.source import read_documents
from tlnlp.score.source_files import SourceFiles
from tlnlp.score.spark_start import score_folder
from tlnlp.score.staging import PreparedRows, Staging
from tlnlp.score.table_history import merge_days, read_history
from tlnlp.warehouse.schema import Column, columns_of
from tlnlp.warehouse.table_definition import check_publish
from tlnlp.warehouse.tables import load_table


@dataclass(frozen=True)
class PreparedNight:
    """The rows of a night, read and staged.

    Fields:
        rows: the staged rows.
        kept_columns: the kept columns with their types.
        given: the files that were read.
        values_nulled: how many values of a kept column did not fit its type and became null, by column.
    """

    rows: PreparedRows
    kept_columns: tuple[Column, ...]
    given: SourceFiles
    values_nulled: dict[str, int]

    @property
    def counts(self) -> dict[str, int]:
        """Return what the ledger counts beside the rows."""
        return {
            "files_read": len(self.given.files),
            "files_left_out": len(self.given.left_out),
            "kept_values_nulled": sum(self.values_nulled.values()),
        }


@dataclass(frozen=True)
class NightContext:
    """What the steps of a night share while Spark runs.

    ``model`` is the resolved version, ``scorer`` applies it, ``staging`` writes the files of this run, and
    ``unfinished`` lists the runs whose finished pieces can be reused. ``publishes`` is False for a plan.
    """

    settings: ScoreSettings
    catalog: Catalog
    spark: SparkSession
    model: ModelVersion
    scorer: ChunkScorer
    staging: Staging
    unfinished: UnfinishedRuns
    publishes: bool

    def prepare(self) -> PreparedNight:
        """Read the documents once, and stage each row with its outcome.

        Raises:
            InputDataError: the documents cannot be read as configured.
            EngineError: a Spark job failed.
            StorageError: a store cannot be read or written.
            PublishConflictError: the table belongs to another source or model.
        """
        settings, scorer = self.settings, self.scorer
        table = load_table(self.catalog, settings.table)
        known = {column.name: column for column in columns_of(table.schema())} if table is not None else {}
        documents = read_documents(self.spark, settings, known)
        kept_columns = documents.kept_columns
        columns = (*kept_columns, *evidence_columns(settings))
        check_publish(self.catalog, settings.table, source=source_name(settings), model=self.model.name, kept=columns)
        history = read_history(self.catalog, table)
        if self.publishes:
            history = merge_days(self.spark, self.catalog, history, settings, self.staging.run_id)
        staged_files = self.unfinished.finished_files()
        previous = previous_scores(
            self.spark, history, settings, self.model, scorer.scored_by, staged_files, kept_columns
        )
        limits = contract.Limits(settings.max_bytes, scorer.spec.max_chars)
        buckets = contract.bucket_count(documents.rows, settings.chunk_rows)
        rows = self.staging.prepare(contract.prepare_rows(documents.frame, limits, previous, buckets))
        if documents.rows not in (None, rows.total):
            raise InputDataError(
                f"{settings.documents}: the footers of the files promise {documents.rows:,} rows, but {rows.total:,} "
                "were read; nothing was scored; run the night again when no one writes there"
            )
        types = {column.name: column.type for column in kept_columns}
        with spark_errors("checking the kept columns"):
            nulled = (
                check_values(self.spark.read.parquet(spark_input(rows.uri)), documents.checks, types)
                if rows.total
                else {}
            )
        return PreparedNight(rows, kept_columns, documents.given, nulled)


def source_name(settings: ScoreSettings) -> str:
    """Return the name of the documents' source. A table belongs to one source."""
    return settings.source or settings.documents


def resolve_model(settings: ScoreSettings, catalog: Catalog) -> ModelVersion:
    """Return the model version that this run scores with.

    Raises:
        ModelNotFoundError: the registry has no such model or version.
        PublishConflictError: the table belongs to another source or model.
    """
    model = Registry(settings.registry).resolve(settings.model)
    check_publish(catalog, settings.table, source=source_name(settings), model=model.name)
    return model


@contextmanager
def open_night(
    settings: ScoreSettings, catalog: Catalog, model: ModelVersion, run_id: str, day: DayLease | None = None
) -> Iterator[NightContext]:
    """Start Spark, load the model and mark the run's folder as in use, until the block ends.

    Args:
        day: the day that the run holds before it does anything else; None for a run that publishes nothing.

    Raises:
        DayHeldError: another run holds the day.
        BundleError: the bundle is incomplete or altered.
        StorageError: the registry or the warehouse cannot be reached.
        EngineError: Spark does not start, or lacks what it needs to reach a store.
        UsageError: a setting is invalid.
    """
    if not evidence_columns(settings) and settings.evidence_filter != EvidenceFilter():
        say("evidence_filter has no effect without evidence=top")
    staging = Staging(settings.warehouse, run_id)
    with (
        lease.held(staging.storage),
        day.held(settings.take_over) if day else nullcontext(),
        tempfile.TemporaryDirectory(prefix="bundle-", dir=score_folder()) as scratch,
    ):
        folder = Registry(settings.registry).fetch(model, Path(scratch) / "bundle")
        digest = bundle.digest_of(folder)
        stores = (settings.documents, settings.warehouse)
        with spark_session(settings.spark, settings.arrow_batch_rows, stores) as spark:
            report_session(spark)
            scorer = ChunkScorer(spark, folder, digest, model, settings, run_id)
            unfinished = UnfinishedRuns(settings.warehouse, run_id, settings.table, model, digest)
            yield NightContext(settings, catalog, spark, model, scorer, staging, unfinished, publishes=day is not None)
