"""Predict what a night takes, and keep a night within its budget.

The prediction reads the documents as the night does and scores a sample. The sample runs as the night's own Spark job
on all cores. So the measured throughput includes the batching, the text lengths and the load of the other workers.
"""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tlnlp.config import ScoreSettings
from tlnlp.errors import NothingToPublishError, StorageError, counted
from tlnlp.registry import ModelVersion
from tlnlp.runs import memory
from tlnlp.runs.cost import Budget
from tlnlp.runs.ledger import Ledger, new_run_id
from tlnlp.score import contract
from tlnlp.score.night_context import NightContext, open_night, resolve_model
from tlnlp.score.recorded import recorded
from tlnlp.score.session import jvm_peak_bytes
from tlnlp.score.staging import PreparedRows
from tlnlp.storage import Storage
from tlnlp.warehouse.catalog import open_catalog
from tlnlp.warehouse.schema import Column, check_kept, check_table

# The scoring of the sample should take about so long.
SAMPLE_S = 20.0
# Rows per task of the first sample, which starts the workers and loads the model.
WARM_ROWS = 32
# Time to copy, count, audit, publish and clean: a constant part, and a part per row.
FINALIZE_S = 6.0
FINALIZE_S_PER_ROW = 1.5e-5
# A night with a budget is stopped only between chunks, so a chunk should take no longer than this.
CHUNK_S = 600.0


@dataclass(frozen=True)
class Throughput:
    """Measured throughput of scoring.

    ``documents_per_s``: rows per second of all workers together. ``startup_s``: time to start the workers and load the
    model, once per night. ``sample``: rows of the sample.
    """

    documents_per_s: float
    startup_s: float
    sample: int

    def scoring_s(self, rows: int) -> float:
        """Return the predicted time to score so many rows, in seconds."""
        return self.startup_s + rows / self.documents_per_s if rows else 0.0


def finalize_s(rows: int) -> float:
    """Return the predicted time from the last scored row to the end of a night of so many rows, in seconds."""
    return FINALIZE_S + FINALIZE_S_PER_ROW * rows


def measure_throughput(
    night: NightContext, prepared: PreparedRows, kept_columns: tuple[Column, ...]
) -> Throughput | None:
    """Score a sample of the rows to be scored, and return the throughput; None if no row is to be scored.

    Raises:
        EngineError: a Spark job failed.
    """
    total, scorer = prepared.count(contract.SCORE), night.scorer
    if not total:
        return None
    frame = night.spark.read.parquet(*prepared.folders(contract.SCORE, prepared.buckets(contract.SCORE)))
    tasks = night.spark.sparkContext.defaultParallelism

    def score_sample(rows: int) -> tuple[int, float]:
        """Score about so many rows; return how many they were, and the seconds."""
        part = frame if rows >= total else frame.sample(fraction=rows / total, seed=rows)
        rows_before, started = scorer.rows_done, time.monotonic()
        scorer.score_sample(part, min(rows, total), kept_columns)
        return scorer.rows_done - rows_before, time.monotonic() - started

    # The first sample includes the start of the workers; the second gives the size of the third.
    first_rows, first_s = score_sample(WARM_ROWS * tasks)
    sample, seconds = score_sample(2 * WARM_ROWS * tasks)
    documents_per_s = max(sample, 1) / seconds
    if sample < total:
        sample, seconds = score_sample(int(min(total, max(2 * WARM_ROWS * tasks, documents_per_s * SAMPLE_S))))
        documents_per_s = max(sample, 1) / seconds
    return Throughput(documents_per_s, max(0.0, first_s - first_rows / documents_per_s), sample)


@dataclass(frozen=True)
class Prediction:
    """Predicted rows, time, cost and memory of a night.

    ``seconds``: from the start of the night to its end, of which ``scoring_s`` score documents once the workers have
    loaded the model. ``usd``: at the configured price; None without a price.
    ``sample``: rows of the scored sample. ``peak_*_bytes``: largest resident set of a Python worker, of this process
    (the driver) and of its JVM.
    """

    rows_in: int
    rows_to_score: int
    documents_per_s: float
    seconds: float
    scoring_s: float
    usd: float | None
    sample: int
    peak_worker_bytes: int
    peak_driver_bytes: int
    peak_jvm_bytes: int

    def to_json(self) -> dict[str, Any]:
        """Return the fields by name, with rounded times."""
        names = ("documents_per_s", "seconds", "scoring_s")
        return vars(self) | {name: round(getattr(self, name), 1) for name in names}

    def facts(self) -> dict[str, str]:
        """Return the prediction as a person reads it, with units."""
        peaks = (self.peak_worker_bytes, self.peak_driver_bytes, self.peak_jvm_bytes)
        worker, driver, jvm = (f"{peak / 2**20:,.0f} MiB" for peak in peaks)
        return {
            "documents": f"{self.rows_in:,} in the input, {self.rows_to_score:,} to score",
            "throughput": f"{self.documents_per_s:,.1f} documents a second, measured on {self.sample:,} here",
            "scoring": f"{self.scoring_s:,.0f} s",
            "whole night": f"{self.seconds:,.0f} s, with the start of Spark, reading and publishing",
            "cost": "unknown: set cost.instance or cost.usd_per_hour" if self.usd is None else f"{self.usd:.4f} USD",
            "memory": f"{worker} a Python worker, {driver} the driver, {jvm} its JVM",
        }


def plan(settings: ScoreSettings) -> Prediction:
    """Predict what a night with these settings takes on this cluster. Publish nothing.

    The prediction is saved in the warehouse. The ledger of the next night with the same table, documents, model and
    mode compares it with the outcome.

    Raises:
        UsageError: a setting is invalid, or the settings do not fit together.
        InputDataError: the documents cannot be read as configured.
        BundleError: the model bundle is incomplete or altered.
        StorageError: a store cannot be reached, read or written.
        EngineError: Spark failed.
        PublishConflictError: the table belongs to another source or model.
        NothingToPublishError: the input holds no documents.
    """
    check_kept(settings.keep_columns)
    check_table(settings.table)
    budget = Budget(settings.cost)
    run_id = new_run_id(datetime.now(UTC))
    ledger = Ledger("plan", run_id, settings.model_dump(mode="json"))
    warehouse, catalog = Storage(settings.warehouse), open_catalog(settings.warehouse, settings.catalog)
    with recorded(ledger, settings.warehouse):
        model = resolve_model(settings, catalog)
        with open_night(settings, catalog, model, run_id) as night:
            night.unfinished.register()  # If this process is killed, a later night removes what it has staged.
            try:
                prediction = _predict(night, budget, ledger)
            finally:
                night.staging.drop()
                night.unfinished.unregister()
        ledger.results |= {"model": model.name, "model_version": model.version, "prediction": prediction.to_json()}
        scope = {"documents": settings.documents, "model": str(model), "mode": settings.mode, "plan": run_id}
        warehouse.write(_plan_key(settings), json.dumps(scope | prediction.to_json()).encode())
    return prediction


def _predict(night: NightContext, budget: Budget, ledger: Ledger) -> Prediction:
    with ledger.stage("prepare"):
        found = night.prepare()
    prepared, kept_columns = found.rows, found.kept_columns
    if not prepared.total:
        raise NothingToPublishError(
            f"{night.settings.documents}: the input holds no documents; there is nothing to plan; check the path and "
            "the export that writes it"
        )
    prepared_s = budget.spent_s
    with ledger.stage("estimate"):
        throughput = measure_throughput(night, prepared, kept_columns)
    return _prediction(night, prepared, throughput, prepared_s, budget)


def _prediction(
    night: NightContext, prepared: PreparedRows, throughput: Throughput | None, prepared_s: float, budget: Budget
) -> Prediction:
    """Return the prediction; ``prepared_s`` is the time from the start of the run to the end of the preparation."""
    to_score = prepared.count(contract.SCORE)
    seconds = prepared_s + finalize_s(prepared.total)
    if throughput is not None:
        seconds += throughput.scoring_s(to_score)
    return Prediction(
        rows_in=prepared.total,
        rows_to_score=to_score,
        documents_per_s=throughput.documents_per_s if throughput else 0.0,
        seconds=seconds,
        scoring_s=to_score / throughput.documents_per_s if throughput else 0.0,
        usd=round(budget.price.usd(seconds), 6) if budget.price else None,
        sample=throughput.sample if throughput else 0,
        peak_worker_bytes=night.scorer.peak_worker_bytes,
        peak_driver_bytes=memory.peak_bytes(),
        peak_jvm_bytes=jvm_peak_bytes(night.spark),
    )


def _plan_key(settings: ScoreSettings) -> str:
    return f"plans/{settings.table}.json"


class NightBudget:
    """Keep a night within its budget, and record the predicted and the actual time and cost in the ledger.

    A night with a budget predicts its own time before it scores. A night without one is compared with the plan that was
    made for the same documents, model and mode. ``chunk_rows`` is the size of the chunks.
    """

    def __init__(self, settings: ScoreSettings, ledger: Ledger) -> None:
        """Start the clock of the night, and record the price in the ledger.

        Raises:
            UsageError: there is a budget without a price.
        """
        self._settings, self._ledger, self._budget = settings, ledger, Budget(settings.cost)
        self._throughput: Throughput | None = None
        self._scoring_started_s = 0.0
        self.chunk_rows = settings.chunk_rows
        if self._budget.price is not None:
            price = self._budget.price
            ledger.priced(price.usd_per_hour, instance=price.instance, instances=price.instances)

    def estimate(self, night: NightContext, prepared: PreparedRows, kept_columns: tuple[Column, ...]) -> None:
        """Predict the night's cost if it has a budget, and limit the size of the chunks by the throughput.

        Raises:
            BudgetError: the night would cost more than its budget; nothing has been scored.
        """
        if self._budget.limit_usd is None:
            return
        prepared_s = self._budget.spent_s
        self._throughput = measure_throughput(night, prepared, kept_columns)
        sampling_s = self._budget.spent_s - prepared_s
        prediction = _prediction(night, prepared, self._throughput, prepared_s, self._budget)
        self._record_prediction("estimate", prediction.seconds + sampling_s)
        self._budget.check(prediction.seconds - prepared_s, f"{night.settings.documents}: {prepared.total} documents")
        if self._throughput is not None:
            self.chunk_rows = min(self.chunk_rows, max(1, int(self._throughput.documents_per_s * CHUNK_S)))
        self._scoring_started_s = self._budget.spent_s

    def before_chunk(self, done: int, rows: int) -> None:
        """Check the budget before a chunk of ``rows`` rows, after ``done`` rows have been scored.

        Raises:
            BudgetError: with the next chunk the night would cost more than its budget.
        """
        if self._throughput is None:
            return
        documents_per_s = self._throughput.documents_per_s
        if done:
            documents_per_s = done / max(1e-3, self._budget.spent_s - self._scoring_started_s)
        remaining_s = rows / documents_per_s + finalize_s(done + rows)
        self._budget.check(remaining_s, f"stopped after scoring {counted(done, 'row')}")

    def record_outcome(self, model: ModelVersion, seconds: float) -> None:
        """Record the actual time and cost beside the prediction in the ledger, if there is one."""
        prediction = self._ledger.results.get("prediction")
        if prediction is None:
            with suppress(StorageError, ValueError, KeyError):
                saved = json.loads(Storage(self._settings.warehouse).read(_plan_key(self._settings)))
                scope = (self._settings.documents, str(model), self._settings.mode)
                if (saved["documents"], saved["model"], saved["mode"]) == scope:
                    self._record_prediction(f"plan {saved['plan']}", float(saved["seconds"]))
        prediction = self._ledger.results.get("prediction")
        if isinstance(prediction, dict):
            prediction["actual_seconds"] = round(seconds, 1)
            if self._budget.price is not None:
                prediction["actual_usd"] = round(self._budget.price.usd(seconds), 6)

    def _record_prediction(self, by: str, seconds: float) -> None:
        """Write the prediction to the ledger; ``by`` names its origin: ``estimate`` or ``plan`` and a run id."""
        usd = round(self._budget.price.usd(seconds), 6) if self._budget.price is not None else None
        self._ledger.results["prediction"] = {"by": by, "seconds": round(seconds, 1), "usd": usd}
