"""The start of a night, shared by scoring and planning: resolve the model, start Spark, read and classify the rows."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pyiceberg.catalog import Catalog
from pyspark.sql import SparkSession

from tlnlp.config import ScoreSettings
from tlnlp.model import bundle
from tlnlp.registry import ModelVersion, Registry
from tlnlp.score import contract, lease
from tlnlp.score.chunks import ChunkScorer
from tlnlp.score.previous_scores import previous_scores
from tlnlp.score.resume import UnfinishedRuns
from tlnlp.score.session import report_session, spark_session
from tlnlp.score.source import read_documents
from tlnlp.score.staging import PreparedRows, Staging
from tlnlp.warehouse.schema import Column
from tlnlp.warehouse.table_definition import check_publish


@dataclass(frozen=True)
class NightContext:
    """What the steps of a night share while Spark runs.

    ``model`` is the resolved version, ``scorer`` applies it, ``staging`` writes the files of this run, and
    ``unfinished`` lists the runs whose finished pieces can be reused.
    """

    settings: ScoreSettings
    catalog: Catalog
    spark: SparkSession
    model: ModelVersion
    scorer: ChunkScorer
    staging: Staging
    unfinished: UnfinishedRuns

    def prepare(self) -> tuple[PreparedRows, tuple[Column, ...]]:
        """Read the documents once; return the staged rows, each with its outcome, and the kept columns.

        Raises:
            InputDataError: the documents cannot be read as configured.
            EngineError: a Spark job failed.
            StorageError: a store cannot be read or written.
            PublishConflictError: the table belongs to another source or model.
        """
        settings, scorer = self.settings, self.scorer
        documents, kept_columns = read_documents(self.spark, settings)
        check_publish(
            self.catalog, settings.table, source=source_name(settings), model=self.model.name, kept=kept_columns
        )
        staged_files = self.unfinished.finished_files()
        previous = previous_scores(self.spark, self.catalog, settings, self.model, staged_files)
        limits = contract.Limits(settings.max_bytes, scorer.spec.max_chars)
        return self.staging.prepare(contract.prepare_rows(documents, limits, previous)), kept_columns


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
def open_night(settings: ScoreSettings, catalog: Catalog, model: ModelVersion, run_id: str) -> Iterator[NightContext]:
    """Start Spark, load the model and mark the run's folder as in use, until the block ends.

    Raises:
        BundleError: the bundle is incomplete or altered.
        StorageError: the registry or the warehouse cannot be reached.
        EngineError: Spark does not start, or lacks what it needs to reach a store.
        UsageError: a setting is invalid.
    """
    staging = Staging(settings.warehouse, run_id)
    with tempfile.TemporaryDirectory(prefix="tlnlp-score-") as scratch, lease.held(staging.storage):
        folder = Registry(settings.registry).fetch(model, Path(scratch) / "bundle")
        digest = bundle.verify(folder)
        stores = (settings.documents, settings.warehouse)
        with spark_session(settings.spark, settings.arrow_batch_rows, stores) as spark:
            report_session(spark)
            scorer = ChunkScorer(spark, folder, digest, model, settings, run_id)
            unfinished = UnfinishedRuns(settings.warehouse, run_id, settings.table, model, digest)
            yield NightContext(settings, catalog, spark, model, scorer, staging, unfinished)
