"""How a night begins, planned or run: the model resolved, Spark at work, every row read and told what becomes of it."""

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
from tlnlp.score.previous_scores import earlier_scores
from tlnlp.score.resume import Unfinished
from tlnlp.score.session import announce, spark_session
from tlnlp.score.source import read_documents
from tlnlp.score.staging import PreparedRows, Staging
from tlnlp.warehouse.publish import check_publish
from tlnlp.warehouse.schema import Column


@dataclass(frozen=True)
class Opened:
    """What the steps of a night share while Spark is up."""

    settings: ScoreSettings
    catalog: Catalog
    spark: SparkSession
    model: ModelVersion
    scorer: ChunkScorer
    staging: Staging
    unfinished: Unfinished

    def prepare(self) -> tuple[PreparedRows, tuple[Column, ...]]:
        """Read the documents once; every row with its outcome, and the kept columns.

        Raises:
            InputDataError, EngineError, StorageError, PublishConflictError.
        """
        settings, scorer = self.settings, self.scorer
        documents, kept = read_documents(self.spark, settings)
        check_publish(self.catalog, settings.table, source=source_of(settings), model=self.model.name, kept=kept)
        staged = self.unfinished.finished_files()
        earlier = earlier_scores(self.spark, self.catalog, settings, self.model, staged)
        limits = contract.Limits(settings.max_bytes, scorer.spec.max_chars)
        return self.staging.prepare(contract.prepare_rows(documents, limits, earlier)), kept


def source_of(settings: ScoreSettings) -> str:
    """The name of the documents' source, to which a table belongs."""
    return settings.source or settings.documents


def resolved(settings: ScoreSettings, catalog: Catalog) -> ModelVersion:
    """The version that this run scores with. Raises NotFoundError, PublishConflictError."""
    model = Registry(settings.registry).resolve(settings.model)
    check_publish(catalog, settings.table, source=source_of(settings), model=model.name)
    return model


@contextmanager
def opened(settings: ScoreSettings, catalog: Catalog, model: ModelVersion, run_id: str) -> Iterator[Opened]:
    """Spark with the model, for the length of the block; the run's folder is marked as in use.

    Raises:
        BundleError, StorageError, EngineError, UsageError.
    """
    staging = Staging(settings.warehouse, run_id)
    with tempfile.TemporaryDirectory(prefix="tlnlp-score-") as scratch, lease.held(staging.storage):
        folder = Registry(settings.registry).fetch(model, Path(scratch) / "bundle")
        digest = bundle.verify(folder)
        stores = (settings.documents, settings.warehouse)
        with spark_session(settings.spark, settings.arrow_batch_rows, stores) as spark:
            announce(spark)
            scorer = ChunkScorer(spark, folder, digest, model, settings, run_id)
            unfinished = Unfinished(settings.warehouse, run_id, settings.table, model, digest)
            yield Opened(settings, catalog, spark, model, scorer, staging, unfinished)
