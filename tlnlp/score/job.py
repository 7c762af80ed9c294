"""The scoring stage: one night, from documents to a published day.

    resolve the model once -> prepare (one read of the input) -> score chunk by chunk -> audit -> publish -> clean

Until the last commit the table is untouched, whatever fails.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pyiceberg.catalog import Catalog
from pyspark.sql import SparkSession

from tlnlp.config import ScoreSettings
from tlnlp.errors import NothingToPublishError, StorageError
from tlnlp.ledger import Ledger, new_run_id
from tlnlp.model import bundle
from tlnlp.progress import say
from tlnlp.registry import ModelVersion, Registry
from tlnlp.score import contract, lease
from tlnlp.score.announce import announce_night
from tlnlp.score.chunks import ChunkScorer, quarantine_rows, reused_rows
from tlnlp.score.earlier import earlier_scores
from tlnlp.score.session import announce, jvm_peak_bytes, spark_session
from tlnlp.score.source import read_documents
from tlnlp.score.staging import Piece, PreparedRows, Staging
from tlnlp.storage import Storage
from tlnlp.warehouse.announce import check_targets
from tlnlp.warehouse.audit import audit_quarantine, audit_scores
from tlnlp.warehouse.catalog import open_catalog
from tlnlp.warehouse.clean import clean_runs
from tlnlp.warehouse.publish import check_publish, publish_day
from tlnlp.warehouse.schema import QUARANTINE, Column, check_kept, check_table, quarantine_name
from tlnlp.warehouse.tables import day_token


@dataclass(frozen=True)
class Counts:
    """The rows of a night. ``rows_unchanged`` (incremental mode) is the part of ``rows_reused`` that was not copied."""

    rows_in: int
    rows_scored: int
    rows_reused: int
    rows_duplicate: int
    rows_quarantined: int
    rows_unchanged: int
    texts_scored: int

    @property
    def rows_published(self) -> int:
        return self.rows_scored + self.rows_reused - self.rows_unchanged

    def to_json(self) -> dict[str, int]:
        return dict(vars(self))


@dataclass(frozen=True)
class ScoreResult:
    run_id: str
    model: ModelVersion
    table: str
    score_date: str
    snapshot_id: int
    counts: Counts
    documents_per_s: float
    seconds: float
    peak_worker_bytes: int

    def to_json(self) -> dict[str, Any]:
        return {
            "run_id": self.run_id,
            "model": self.model.name,
            "model_version": self.model.version,
            "table": self.table,
            "score_date": self.score_date,
            "snapshot_id": self.snapshot_id,
            **self.counts.to_json(),
            "rows_published": self.counts.rows_published,
            "documents_per_s": round(self.documents_per_s, 1),
            "seconds": round(self.seconds, 1),
            "peak_worker_bytes": self.peak_worker_bytes,
        }


@dataclass(frozen=True)
class _Staged:
    scores: tuple[str, ...]
    quarantine: Piece
    counts: Counts
    kept: tuple[Column, ...]


def score(settings: ScoreSettings) -> ScoreResult:
    """Score one day and publish it. A ledger is kept in the warehouse, also of a run that failed.

    Raises:
        UsageError, InputDataError, BundleError, StorageError, EngineError.
        NothingToPublishError: the input is empty, or too much of it went to quarantine.
        PublishConflictError: the table is another source's or model's, or the day was published meanwhile.
    """
    check_kept(settings.keep_columns)
    check_table(settings.table)
    check_targets(settings.warehouse, settings.announce)
    run_id = new_run_id(datetime.now(UTC))
    ledger = Ledger("score", run_id, settings.model_dump(mode="json"))
    warehouse = Storage(settings.warehouse)
    with ledger.kept(lambda finished: finished.save(warehouse, f"ledgers/{run_id}.json")):
        return _Night(settings, ledger).run()


class _Night:
    """The steps of one run, with what they share."""

    def __init__(self, settings: ScoreSettings, ledger: Ledger) -> None:
        self.settings, self.ledger, self.run_id = settings, ledger, ledger.run_id
        self.started = time.monotonic()
        self.catalog: Catalog = open_catalog(settings.warehouse, settings.catalog)
        self.staging = Staging(settings.warehouse, self.run_id)
        self.source = settings.source or settings.documents

    def run(self) -> ScoreResult:
        settings = self.settings
        registry = Registry(settings.registry)
        model = registry.resolve(settings.model)
        self.ledger.results |= {"model": model.name, "model_version": model.version}
        check_publish(self.catalog, settings.table, source=self.source, model=model.name)
        expected = self._tokens()
        with tempfile.TemporaryDirectory(prefix="tlnlp-score-") as scratch, lease.held(self.staging.storage):
            folder = registry.fetch(model, Path(scratch) / "bundle")
            digest = bundle.verify(folder)
            stores = (settings.documents, settings.warehouse)
            with (
                spark_session(settings.spark, settings.arrow_batch_rows, stores) as spark,
                self._dropped_on_failure(),
            ):
                announce(spark)
                scorer = ChunkScorer(spark, folder, digest, model, settings, self.run_id)
                staged = self._stage(spark, scorer, model)
                snapshot_id = self._publish(staged, model, scorer, expected)
                self.ledger.results["peak_jvm_bytes"] = jvm_peak_bytes(spark)
            announce_night(self.catalog, settings, self.ledger)
            with self.ledger.stage("clean"):
                self.staging.drop_prepared()
                self._clean()
        return self._result(model, staged.counts, snapshot_id, scorer)

    def _tokens(self) -> dict[str, str]:
        tables = (self.settings.table, quarantine_name(self.settings.table))
        return {table: day_token(self.catalog, table, self.settings.score_date) for table in tables}

    def _stage(self, spark: SparkSession, scorer: ChunkScorer, model: ModelVersion) -> _Staged:
        settings = self.settings
        with self.ledger.stage("prepare"):
            documents, kept = read_documents(spark, settings)
            check_publish(self.catalog, settings.table, source=self.source, model=model.name, kept=kept)
            earlier = earlier_scores(spark, self.catalog, settings, model)
            limits = contract.Limits(settings.max_bytes, scorer.spec.max_chars)
            prepared = self.staging.prepare(contract.prepare_rows(documents, limits, earlier))
        self.ledger.inputs(settings.documents, None, rows=sum(map(prepared.count, contract.OUTCOMES)))
        self.ledger.counts |= _counts(prepared, 0).to_json()
        self._refuse_bad_nights(prepared)
        with self.ledger.stage("score"):
            pieces = scorer.score_chunks(self.staging, prepared, kept)
        with self.ledger.stage("copy"):
            if prepared.count(contract.REUSED):
                rows = reused_rows(spark, prepared, model, settings, self.run_id, kept)
                pieces.append(self.staging.write("reused", rows, "copying earlier scores"))
            rejected = quarantine_rows(spark, prepared, settings, self.run_id)
            quarantine = self.staging.write("quarantine", rejected, "writing the quarantine")
        counts = _counts(prepared, scorer.distinct_texts(pieces))
        self.ledger.counts |= counts.to_json()
        return _Staged(tuple(file for piece in pieces for file in piece.files), quarantine, counts, kept)

    def _refuse_bad_nights(self, prepared: PreparedRows) -> None:
        rows = sum(map(prepared.count, contract.OUTCOMES))
        if rows == 0:
            raise NothingToPublishError(f"{self.settings.documents}: no documents there; nothing was published")
        rejected = prepared.count(contract.QUARANTINED)
        if rejected > self.settings.max_quarantine_share * rows:
            reasons = ", ".join(f"{count} {reason}" for reason, count in self._reasons(prepared))
            raise NothingToPublishError(
                f"{self.settings.documents}: {rejected} of {rows} documents are unfit ({reasons}), more than "
                f"max_quarantine_share={self.settings.max_quarantine_share}; nothing was published. Mend the source, "
                "or raise the share if this is expected"
            )

    def _reasons(self, prepared: PreparedRows) -> list[tuple[str, int]]:
        spark = SparkSession.getActiveSession()
        assert spark is not None
        frame = spark.read.parquet(*prepared.folders(contract.QUARANTINED, prepared.buckets(contract.QUARANTINED)))
        return sorted((str(row["reason"]), int(row["count"])) for row in frame.groupBy("reason").count().collect())

    def _publish(self, staged: _Staged, model: ModelVersion, scorer: ChunkScorer, expected: dict[str, str]) -> int:
        settings, day, counts = self.settings, self.settings.score_date, staged.counts
        with self.ledger.stage("audit"):
            audit_scores(
                staged.scores,
                kept=staged.kept,
                labels=scorer.spec.classes,
                score_date=day,
                run_id=self.run_id,
                expected_rows=counts.rows_published,
            )
            audit_quarantine(
                staged.quarantine.files, score_date=day, run_id=self.run_id, expected_rows=counts.rows_quarantined
            )
        summary = {key: str(value) for key, value in counts.to_json().items()} | {"model_version": str(model.version)}
        shared: dict[str, Any] = {
            "score_date": day,
            "source": self.source,
            "model": model.name,
            "run_id": self.run_id,
            "summary": summary | {"mode": settings.mode},
        }
        aside = quarantine_name(settings.table)
        with self.ledger.stage("publish"):
            publish_day(
                self.catalog,
                aside,
                files=staged.quarantine.files,
                columns=QUARANTINE,
                expected=expected[aside],
                **shared,
            )
            result = publish_day(
                self.catalog,
                settings.table,
                files=staged.scores,
                kept=staged.kept,
                expected=expected[settings.table],
                **shared,
            )
        self.ledger.results["snapshot_id"] = result.snapshot_id
        say(f"published {result.rows} rows of {day} in table {settings.table}, in place of {result.replaced_rows}")
        return result.snapshot_id

    @contextmanager
    def _dropped_on_failure(self) -> Iterator[None]:
        try:
            yield
        except NothingToPublishError:
            self.staging.drop()  # Surely unpublished. After other failures a later run cleans, once it knows.
            raise
        except BaseException:
            with suppress(StorageError):
                self.staging.drop_prepared()  # It holds texts.
            raise

    def _clean(self) -> None:
        removed = clean_runs(
            self.settings.warehouse,
            self.catalog,
            now=datetime.now(UTC),
            older_than_s=self.settings.dead_after_h * 3600,
            keep_run=self.run_id,
            has_ended=lambda run_id: lease.has_ended(Storage(self.settings.warehouse).at(f"runs/{run_id}")),
        )
        if removed:
            say(f"cleaned {len(removed)} dead run(s): {', '.join(removed)}")

    def _result(self, model: ModelVersion, counts: Counts, snapshot_id: int, scorer: ChunkScorer) -> ScoreResult:
        rate = counts.rows_scored / scorer.seconds if scorer.seconds else 0.0
        self.ledger.results |= {"documents_per_s": round(rate, 1), "peak_worker_bytes": scorer.peak_worker_bytes}
        return ScoreResult(
            self.run_id,
            model,
            self.settings.table,
            self.settings.score_date.isoformat(),
            snapshot_id,
            counts,
            rate,
            time.monotonic() - self.started,
            scorer.peak_worker_bytes,
        )


def _counts(prepared: PreparedRows, texts_scored: int) -> Counts:
    unchanged = prepared.count(contract.UNCHANGED)
    return Counts(
        rows_in=sum(map(prepared.count, contract.OUTCOMES)),
        rows_scored=prepared.count(contract.SCORE),
        rows_reused=prepared.count(contract.REUSED) + unchanged,
        rows_duplicate=prepared.count(contract.DUPLICATE),
        rows_quarantined=prepared.count(contract.QUARANTINED),
        rows_unchanged=unchanged,
        texts_scored=texts_scored,
    )
