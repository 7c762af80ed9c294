"""The scoring stage: score one day of documents and publish it.

    resolve the model -> prepare (read the input once) -> score in chunks -> audit -> publish -> clean

The published table changes only with the last commit. A run that fails before it leaves the table as it was.
One run of this stage is called a night.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from pyiceberg.catalog import Catalog

from tlnlp.config import ScoreSettings
from tlnlp.errors import NothingToPublishError, StorageError, counted
from tlnlp.model.cascade import STAGES
from tlnlp.registry import ModelVersion
from tlnlp.runs.ledger import Ledger, new_run_id
from tlnlp.runs.lineage import Lineage, table_uri
from tlnlp.runs.progress import say
from tlnlp.score import contract
from tlnlp.score.announce import announce_night
from tlnlp.score.chunks import ChunkScorer, quarantine_rows, reused_rows, unread_rows
from tlnlp.score.day_lease import DayLease, remove_days_of
from tlnlp.score.drift_check import changed_statistics, check_drift, store_profile
from tlnlp.score.evidence_column import evidence_columns
from tlnlp.score.input_check import check_input, check_unread
from tlnlp.score.night_context import NightContext, open_night, resolve_model, source_name
from tlnlp.score.plan import NightBudget
from tlnlp.score.recorded import recorded
from tlnlp.score.result import Counts, ScoreResult
from tlnlp.score.resume import UnfinishedRuns
from tlnlp.score.session import jvm_peak_bytes
from tlnlp.score.source_files import SHOWN_NAMES
from tlnlp.score.staging import PreparedRows
from tlnlp.warehouse.announce import check_targets
from tlnlp.warehouse.audit import audit_quarantine, audit_scores
from tlnlp.warehouse.catalog import open_catalog
from tlnlp.warehouse.clean import clean_runs
from tlnlp.warehouse.night import publish_night
from tlnlp.warehouse.publish import Publication
from tlnlp.warehouse.row_counts import RowCounts
from tlnlp.warehouse.run_folder import QUARANTINE_PIECE, REUSED_PIECE, Piece
from tlnlp.warehouse.schema import QUARANTINE, Column, check_kept, check_table, quarantine_name
from tlnlp.warehouse.tables import day_token, load_table, run_ids

__all__ = ["Counts", "ScoreResult", "score"]


@dataclass(frozen=True)
class _StagedNight:
    """What a night has written and not published yet: score files, quarantine and counts.

    ``added_columns`` are those that the table has beside its own: the kept ones, and that of the evidence.
    """

    score_files: tuple[str, ...]
    quarantine: Piece
    counts: Counts
    added_columns: tuple[Column, ...]


def score(settings: ScoreSettings) -> ScoreResult:
    """Score one day of documents and publish it. The warehouse gets a ledger of the run (see ``recorded``).

    Raises:
        UsageError: a setting is invalid, or the settings do not fit together.
        InputDataError: the documents cannot be read as configured.
        BundleError: the model bundle is incomplete or altered.
        StorageError: a store cannot be reached, read or written.
        EngineError: Spark failed.
        NothingToPublishError: the input is empty, or the quarantined share is above the limit.
        BudgetError: the night would cost more than its budget.
        PublishConflictError: the table belongs to another source or model, or another run published the day meanwhile.
        DayHeldError: another run is scoring the day, or has taken it over.
        DriftError: the documents or their scores have changed too much.
    """
    check_kept(settings.keep_columns)
    check_table(settings.table)
    check_targets(settings.warehouse, settings.announce)
    run_id = new_run_id(datetime.now(UTC))
    ledger = Ledger("score", run_id, settings.model_dump(mode="json"))
    tables = [table_uri(settings.warehouse, name) for name in (settings.table, quarantine_name(settings.table))]
    with recorded(ledger, settings.warehouse, Lineage(ledger, settings.lineage, tables)):
        return _Night(settings, ledger).run()


class _Night:
    """The steps of one run and the state that they share."""

    def __init__(self, settings: ScoreSettings, ledger: Ledger) -> None:
        self.settings, self.ledger, self.run_id = settings, ledger, ledger.run_id
        self.started = time.monotonic()
        self.budget = NightBudget(settings, ledger)
        self.day = DayLease(settings.warehouse, settings.table, settings.score_date, self.run_id)
        self.catalog: Catalog = open_catalog(settings.warehouse, settings.catalog)

    def run(self) -> ScoreResult:
        """Run every step in order and return the result."""
        settings = self.settings
        model = resolve_model(settings, self.catalog)
        self.ledger.results |= {"model": model.name, "model_version": model.version}
        with open_night(settings, self.catalog, model, self.run_id, self.day) as night:
            # The state of the day, by which publishing notices another run's commit.
            expected = day_token(self.catalog, settings.table, settings.score_date)
            self.ledger.results |= {"profile": str(night.scorer.profile), "scored_by": night.scorer.scored_by}
            with self._tidy_on_failure(night):
                night.unfinished.register()
                staged = self._stage(night)
                snapshot_id = self._publish(staged, night, expected)
            self.ledger.results["peak_jvm_bytes"] = jvm_peak_bytes(night.spark)
            announce_night(self.catalog, settings, self.ledger)
            with self.ledger.stage("clean"):
                night.staging.drop_prepared()
                night.unfinished.unregister()
                self._clean(night.unfinished)
        return self._result(model, staged.counts, snapshot_id, night.scorer)

    def _stage(self, night: NightContext) -> _StagedNight:
        """Read, score and write every row of the night; publish nothing."""
        settings, scorer, staging = self.settings, night.scorer, night.staging
        with self.ledger.stage("prepare"):
            found = night.prepare()
        prepared, kept_columns = found.rows, found.kept_columns
        self.ledger.inputs(settings.documents, None, rows=prepared.total)
        self.ledger.counts |= Counts.of(prepared, 0).to_json() | found.counts
        if found.values_nulled:
            self.ledger.results["kept_values_nulled"] = found.values_nulled
        if found.given.left_out:
            self.ledger.results["files_left_out"] = list(found.given.left_out[:SHOWN_NAMES])
        check_input(settings, prepared, night.spark)
        with self.ledger.stage("estimate"):
            self.budget.estimate(night, prepared, kept_columns)
        with self.ledger.stage("score"):
            scored = scorer.score_chunks(staging, prepared, kept_columns, self.budget.chunk_rows, self._before_chunk)
        self._report_cascade(scorer)
        if (evidence := scorer.evidence_summary()) is not None:
            self.ledger.results["evidence"] = evidence
        unread = self._unread(prepared, scored, scorer)
        pieces = list(scored)
        with self.ledger.stage("copy"):
            if prepared.count(contract.REUSED):
                rows = reused_rows(night.spark, prepared, night.model, settings, self.run_id, kept_columns)
                pieces.append(staging.write(REUSED_PIECE, rows, "copying previous scores"))
            left = unread_rows(night.spark, prepared, scored) if unread else None
            rejected = quarantine_rows(night.spark, prepared, settings, self.run_id, left)
            quarantine = staging.write(QUARANTINE_PIECE, rejected, "writing the quarantine")
        counts = Counts.of(prepared, scorer.distinct_texts(scored), unread)
        self.ledger.counts |= counts.to_json()
        added_columns = (*kept_columns, *evidence_columns(settings))
        return _StagedNight(tuple(file for piece in pieces for file in piece.files), quarantine, counts, added_columns)

    def _before_chunk(self, done: int, rows: int) -> None:
        """Stop the run if it has lost its day, or if it would cost too much with the next chunk."""
        self.day.check()
        self.budget.before_chunk(done, rows)

    def _unread(self, prepared: PreparedRows, scored: Sequence[Piece], scorer: ChunkScorer) -> int:
        """Return how many rows memory was too little for. Raise NothingToPublishError if that is too large a share."""
        unread = prepared.count(contract.SCORE) - sum(piece.rows for piece in scored)
        if not scorer.has_unread:  # Then rows are missing for another reason, which the audit reports.
            return 0
        check_unread(self.settings, prepared, unread)
        return unread

    def _report_cascade(self, scorer: ChunkScorer) -> None:
        """Write what the night has seen of its cascade to the ledger, and warn if it no longer keeps its promise."""
        found = scorer.cascade_summary()
        if found is None:
            return
        self.ledger.results["cascade"] = found
        if not found["holds"]:
            say(
                f"WARNING: the cascade changes more labels than its test has shown: {found['changed']} of "
                f"{found['sampled']} settled texts that were read again (at most {found['limit']:.1%} of all texts): "
                "the documents have changed: fine-tune again with documents of these days, or set optimise=none"
            )

    def _publish(self, staged: _StagedNight, night: NightContext, expected: str) -> int:
        """Audit the staged files and publish scores and quarantine; return the snapshot id of the scores."""
        settings, day, counts = self.settings, self.settings.score_date, staged.counts
        with self.ledger.stage("audit"):
            profile = check_drift(settings, self.ledger, night, self._audit(staged, night))
        summary = {key: str(value) for key, value in counts.to_json().items()}
        summary |= {"model_version": str(night.model.version)}
        scores = Publication(
            table=settings.table,
            score_date=day,
            files=staged.score_files,
            source=source_name(settings),
            model=night.model.name,
            run_id=self.run_id,
            summary=summary | {"mode": settings.mode, "scored_by": night.scorer.scored_by},
            kept=staged.added_columns,
        )
        name, files = quarantine_name(settings.table), tuple(staged.quarantine.files)
        quarantine = replace(scores, table=name, files=files, summary=summary, kept=(), columns=QUARANTINE)
        self.day.check()
        with self.ledger.stage("publish"):
            result = publish_night(self.catalog, scores, quarantine, expected)
            store_profile(settings, profile)
        self.ledger.results["snapshot_id"] = result.snapshot_id
        say(
            f"published {counted(result.rows, 'row')} of {day} in table {settings.table}, replacing "
            f"{counted(result.replaced_rows, 'row')}"
        )
        return result.snapshot_id

    def _audit(self, staged: _StagedNight, night: NightContext) -> RowCounts:
        """Audit the staged files, and return the counts of their rows."""
        day, counts, found = self.settings.score_date, staged.counts, RowCounts(night.scorer.spec.classes, STAGES)
        audit_scores(
            staged.score_files,
            kept=staged.added_columns,
            labels=night.scorer.spec.classes,
            score_date=day,
            run_id=self.run_id,
            expected_rows=counts.rows_published,
            see=found.look,
        )
        audit_quarantine(
            list(staged.quarantine.files), score_date=day, run_id=self.run_id, expected_rows=counts.rows_quarantined
        )
        return found

    @contextmanager
    def _tidy_on_failure(self, night: NightContext) -> Iterator[None]:
        """If the block fails, remove the staged texts. Finished pieces stay, so that the next run can reuse them."""
        try:
            yield
        except NothingToPublishError:
            # This run has published nothing, so its files can go. After other failures the outcome of the commit may
            # be unknown: a later run removes the files once it knows.
            night.staging.drop()
            night.unfinished.unregister()
            raise
        except BaseException:
            with suppress(StorageError):
                night.staging.drop_prepared()  # The prepared rows hold document texts.
            night.unfinished.unregister_if_empty()
            raise

    def _clean(self, unfinished: UnfinishedRuns) -> None:
        """Remove the staged files of dead runs that are in the register. ``tlnlp maintain`` looks at all folders."""
        if not unfinished.others():
            return
        scores = load_table(self.catalog, self.settings.table)
        unfinished.unregister_published(run_ids(scores) if scores else ())
        removed = clean_runs(
            self.settings.warehouse,
            self.catalog,
            now=datetime.now(UTC),
            older_than_s=self.settings.dead_after_h * 3600,
            keep_run=self.run_id,
            has_ended=unfinished.has_ended,
            only=unfinished.others(),
        )
        unfinished.unregister_removed()
        remove_days_of(self.settings.warehouse, removed)
        if removed:
            say(f"removed the files of {counted(len(removed), 'dead run')}: {', '.join(removed)}")

    def _result(self, model: ModelVersion, counts: Counts, snapshot_id: int, scorer: ChunkScorer) -> ScoreResult:
        documents_per_s = counts.rows_scored / scorer.seconds if scorer.seconds else 0.0
        seconds = time.monotonic() - self.started
        self.ledger.results |= {
            "documents_per_s": round(documents_per_s, 1),
            "peak_worker_bytes": scorer.peak_worker_bytes,
        }
        self.budget.record_outcome(model, seconds)
        return ScoreResult(
            self.run_id,
            model,
            self.settings.table,
            self.settings.score_date.isoformat(),
            snapshot_id,
            counts,
            documents_per_s,
            seconds,
            scorer.peak_worker_bytes,
            self.ledger.cost,
            int(self.ledger.counts.get("kept_values_nulled", 0)),
            changed_statistics(self.ledger),
        )
