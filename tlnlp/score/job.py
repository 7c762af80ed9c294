"""The scoring stage: one night, from documents to a published day.

    resolve the model once -> prepare (one read of the input) -> score chunk by chunk -> audit -> publish -> clean

Until the last commit the table is untouched, whatever fails.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pyiceberg.catalog import Catalog
from pyspark.sql import SparkSession

from tlnlp.config import ScoreSettings
from tlnlp.errors import NothingToPublishError, StorageError
from tlnlp.registry import ModelVersion
from tlnlp.runs.ledger import Ledger, new_run_id
from tlnlp.runs.progress import say
from tlnlp.score import contract
from tlnlp.score.announce import announce_night
from tlnlp.score.chunks import ChunkScorer, quarantine_rows, reused_rows
from tlnlp.score.night_context import Opened, opened, resolved, source_of
from tlnlp.score.plan import Pace
from tlnlp.score.result import Counts, ScoreResult
from tlnlp.score.resume import Unfinished
from tlnlp.score.session import jvm_peak_bytes
from tlnlp.score.staging import Piece, PreparedRows
from tlnlp.storage import Storage
from tlnlp.warehouse.announce import check_targets
from tlnlp.warehouse.audit import audit_quarantine, audit_scores
from tlnlp.warehouse.catalog import open_catalog
from tlnlp.warehouse.clean import clean_runs
from tlnlp.warehouse.publish import publish_day
from tlnlp.warehouse.schema import QUARANTINE, Column, check_kept, check_table, quarantine_name
from tlnlp.warehouse.tables import day_token

__all__ = ["Counts", "ScoreResult", "score"]


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
        BudgetError: the night would cost, or has come to cost, more than its budget.
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
        self.pace = Pace(settings, ledger)
        self.catalog: Catalog = open_catalog(settings.warehouse, settings.catalog)

    def run(self) -> ScoreResult:
        settings = self.settings
        model = resolved(settings, self.catalog)
        self.ledger.results |= {"model": model.name, "model_version": model.version}
        expected = self._tokens()
        with opened(settings, self.catalog, model, self.run_id) as night:
            with self._left_in_order(night):
                night.unfinished.begin()
                staged = self._stage(night)
                snapshot_id = self._publish(staged, night, expected)
            self.ledger.results["peak_jvm_bytes"] = jvm_peak_bytes(night.spark)
            announce_night(self.catalog, settings, self.ledger)
            with self.ledger.stage("clean"):
                night.staging.drop_prepared()
                night.unfinished.end()
                self._clean(night.unfinished)
        return self._result(model, staged.counts, snapshot_id, night.scorer)

    def _tokens(self) -> dict[str, str]:
        tables = (self.settings.table, quarantine_name(self.settings.table))
        return {table: day_token(self.catalog, table, self.settings.score_date) for table in tables}

    def _stage(self, night: Opened) -> _Staged:
        settings, scorer, staging = self.settings, night.scorer, night.staging
        with self.ledger.stage("prepare"):
            prepared, kept = night.prepare()
        self.ledger.inputs(settings.documents, None, rows=prepared.total)
        self.ledger.counts |= Counts.of(prepared, 0).to_json()
        self._refuse_bad_nights(prepared)
        with self.ledger.stage("estimate"):
            self.pace.estimate(night, prepared, kept)
        with self.ledger.stage("score"):
            pieces = scorer.score_chunks(staging, prepared, kept, self.pace.chunk_rows, self.pace.before_chunk)
        with self.ledger.stage("copy"):
            if prepared.count(contract.REUSED):
                rows = reused_rows(night.spark, prepared, night.model, settings, self.run_id, kept)
                pieces.append(staging.write("reused", rows, "copying earlier scores"))
            rejected = quarantine_rows(night.spark, prepared, settings, self.run_id)
            quarantine = staging.write("quarantine", rejected, "writing the quarantine")
        counts = Counts.of(prepared, scorer.distinct_texts(pieces))
        self.ledger.counts |= counts.to_json()
        return _Staged(tuple(file for piece in pieces for file in piece.files), quarantine, counts, kept)

    def _refuse_bad_nights(self, prepared: PreparedRows) -> None:
        rows = prepared.total
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

    def _publish(self, staged: _Staged, night: Opened, expected: dict[str, str]) -> int:
        model, settings, day, counts = night.model, self.settings, self.settings.score_date, staged.counts
        with self.ledger.stage("audit"):
            audit_scores(
                staged.scores,
                kept=staged.kept,
                labels=night.scorer.spec.classes,
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
            "source": source_of(settings),
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
    def _left_in_order(self, night: Opened) -> Iterator[None]:
        """What stays of a run that fails: the pieces it has finished, for the next run to go on from."""
        try:
            yield
        except NothingToPublishError:
            night.staging.drop()  # Surely unpublished. After other failures a later run cleans, once it knows.
            night.unfinished.end()
            raise
        except BaseException:
            with suppress(StorageError):
                night.staging.drop_prepared()  # It holds texts.
            night.unfinished.leave()
            raise

    def _clean(self, unfinished: Unfinished) -> None:
        removed = clean_runs(
            self.settings.warehouse,
            self.catalog,
            now=datetime.now(UTC),
            older_than_s=self.settings.dead_after_h * 3600,
            keep_run=self.run_id,
            has_ended=unfinished.has_ended,
        )
        unfinished.forget()
        if removed:
            say(f"cleaned {len(removed)} dead run(s): {', '.join(removed)}")

    def _result(self, model: ModelVersion, counts: Counts, snapshot_id: int, scorer: ChunkScorer) -> ScoreResult:
        rate = counts.rows_scored / scorer.seconds if scorer.seconds else 0.0
        seconds = time.monotonic() - self.started
        self.ledger.results |= {"documents_per_s": round(rate, 1), "peak_worker_bytes": scorer.peak_worker_bytes}
        self.pace.compare(model, seconds)
        return ScoreResult(
            self.run_id,
            model,
            self.settings.table,
            self.settings.score_date.isoformat(),
            snapshot_id,
            counts,
            rate,
            seconds,
            scorer.peak_worker_bytes,
            self.ledger.cost,
        )
