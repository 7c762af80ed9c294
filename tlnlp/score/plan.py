"""What a night will take: the documents are read as the night reads them, and a sample is scored as it will be.

The sample goes through the night's own Spark job, on as many cores, so the rate that it finds holds the batching, the
lengths of the texts and the company of the other workers.
"""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tlnlp.config import ScoreSettings
from tlnlp.errors import NothingToPublishError, StorageError
from tlnlp.registry import ModelVersion
from tlnlp.runs import memory
from tlnlp.runs.cost import Budget
from tlnlp.runs.ledger import Ledger, new_run_id
from tlnlp.score import contract
from tlnlp.score.night_context import Opened, opened, resolved
from tlnlp.score.session import jvm_peak_bytes
from tlnlp.score.staging import PreparedRows
from tlnlp.storage import Storage
from tlnlp.warehouse.catalog import open_catalog
from tlnlp.warehouse.schema import Column, check_kept, check_table

# A sample is scored for about so long; a shorter one once before it, since workers start slowly.
TRIAL_S = 20.0
WARM_ROWS = 32
# Copying, counting, auditing, publishing and cleaning, beside what grows with the rows.
CLOSING_S = 6.0
CLOSING_S_PER_ROW = 1.5e-5
# A night with a budget can be stopped between chunks, so those take no longer than this.
CHUNK_S = 600.0


@dataclass(frozen=True)
class Rate:
    """``documents_per_s`` over all workers; ``opening_s`` passes once, before the first worker has its model."""

    documents_per_s: float
    opening_s: float
    sample: int

    def scoring_s(self, rows: int) -> float:
        return self.opening_s + rows / self.documents_per_s if rows else 0.0

    def closing_s(self, rows: int) -> float:
        return CLOSING_S + CLOSING_S_PER_ROW * rows


def measure_rate(night: Opened, prepared: PreparedRows, kept: tuple[Column, ...]) -> Rate | None:
    """The rate on a sample of the rows that are to be scored; None if there are none.

    Raises:
        EngineError: a Spark job failed.
    """
    total, scorer = prepared.count(contract.SCORE), night.scorer
    if not total:
        return None
    frame = night.spark.read.parquet(*prepared.folders(contract.SCORE, prepared.buckets(contract.SCORE)))
    tasks = night.spark.sparkContext.defaultParallelism

    def trial(rows: int) -> tuple[int, float]:
        part = frame if rows >= total else frame.sample(fraction=rows / total, seed=rows)
        before, began = scorer.rows_done, time.monotonic()
        scorer.try_out(part, min(rows, total), kept)
        return scorer.rows_done - before, time.monotonic() - began

    warm, cold_s = trial(WARM_ROWS * tasks)
    done, seconds = trial(2 * WARM_ROWS * tasks)
    rate = max(done, 1) / seconds
    steady = done
    if done < total:
        steady, seconds = trial(int(min(total, max(2 * WARM_ROWS * tasks, rate * TRIAL_S))))
        rate = max(steady, 1) / seconds
    return Rate(rate, max(0.0, cold_s - warm / rate), steady)


@dataclass(frozen=True)
class Prediction:
    """Of a night: ``seconds`` from its start to its end, ``usd`` at the price given, peak memory in bytes."""

    rows_in: int
    rows_to_score: int
    documents_per_s: float
    seconds: float
    usd: float | None
    sample: int
    peak_worker_bytes: int
    peak_driver_bytes: int
    peak_jvm_bytes: int

    def to_json(self) -> dict[str, Any]:
        return vars(self) | {"documents_per_s": round(self.documents_per_s, 1), "seconds": round(self.seconds, 1)}


def plan(settings: ScoreSettings) -> Prediction:
    """What a night of these settings would take on this cluster; nothing is published. It is kept in the warehouse,
    where the next night of the table is held against it.

    Raises:
        UsageError, InputDataError, BundleError, StorageError, EngineError, PublishConflictError.
        NothingToPublishError: there are no documents.
    """
    check_kept(settings.keep_columns)
    check_table(settings.table)
    budget = Budget(settings.cost)
    run_id = new_run_id(datetime.now(UTC))
    ledger = Ledger("plan", run_id, settings.model_dump(mode="json"))
    warehouse, catalog = Storage(settings.warehouse), open_catalog(settings.warehouse, settings.catalog)
    with ledger.kept(lambda finished: finished.save(warehouse, f"ledgers/{run_id}.json")):
        model = resolved(settings, catalog)
        with opened(settings, catalog, model, run_id) as night:
            try:
                prediction = _predict(night, budget, ledger)
            finally:
                night.staging.drop()
        ledger.results |= {"model": model.name, "model_version": model.version, "prediction": prediction.to_json()}
        kept = {"documents": settings.documents, "model": str(model), "mode": settings.mode, "plan": run_id}
        warehouse.write(_plan_key(settings), json.dumps(kept | prediction.to_json()).encode())
    return prediction


def _predict(night: Opened, budget: Budget, ledger: Ledger) -> Prediction:
    with ledger.stage("prepare"):
        prepared, kept = night.prepare()
    if not prepared.total:
        raise NothingToPublishError(f"{night.settings.documents}: no documents there; nothing to plan for")
    opened_s = budget.spent_s
    with ledger.stage("estimate"):
        rate = measure_rate(night, prepared, kept)
    return _prediction(night, prepared, rate, opened_s, budget)


def _prediction(
    night: Opened, prepared: PreparedRows, rate: Rate | None, opened_s: float, budget: Budget
) -> Prediction:
    to_score = prepared.count(contract.SCORE)
    seconds = opened_s + CLOSING_S + CLOSING_S_PER_ROW * prepared.total
    if rate is not None:
        seconds += rate.scoring_s(to_score)
    return Prediction(
        rows_in=prepared.total,
        rows_to_score=to_score,
        documents_per_s=rate.documents_per_s if rate else 0.0,
        seconds=seconds,
        usd=round(budget.price.usd(seconds), 6) if budget.price else None,
        sample=rate.sample if rate else 0,
        peak_worker_bytes=night.scorer.peak_worker_bytes,
        peak_driver_bytes=memory.peak_bytes(),
        peak_jvm_bytes=jvm_peak_bytes(night.spark),
    )


def _plan_key(settings: ScoreSettings) -> str:
    return f"plans/{settings.table}.json"


class Pace:
    """How a night keeps to its budget, and how it is held against what was foretold of it.

    With a budget the night begins with an estimate of its own; without one, a plan that was made for the same documents
    and model is what the outcome is compared with.
    """

    def __init__(self, settings: ScoreSettings, ledger: Ledger) -> None:
        """Raises UsageError: a budget without a price."""
        self._settings, self._ledger, self._budget = settings, ledger, Budget(settings.cost)
        self._rate: Rate | None = None
        self._scoring_from_s = 0.0
        self.chunk_rows = settings.chunk_rows
        if self._budget.price is not None:
            price = self._budget.price
            ledger.priced(price.usd_per_hour, instance=price.instance, instances=price.instances)

    def estimate(self, night: Opened, prepared: PreparedRows, kept: tuple[Column, ...]) -> None:
        """Raises BudgetError: the night would cost more than its budget; nothing has been scored."""
        if self._budget.limit_usd is None:
            return
        opened_s = self._budget.spent_s
        self._rate = measure_rate(night, prepared, kept)
        tried_s = self._budget.spent_s - opened_s
        prediction = _prediction(night, prepared, self._rate, opened_s, self._budget)
        self._foretold("estimate", prediction.seconds + tried_s)
        self._budget.refuse(prediction.seconds - opened_s, f"{night.settings.documents}: {prepared.total} documents")
        if self._rate is not None:
            self.chunk_rows = min(self.chunk_rows, max(1, int(self._rate.documents_per_s * CHUNK_S)))
        self._scoring_from_s = self._budget.spent_s

    def before_chunk(self, done: int, rows: int) -> None:
        """Raises BudgetError: with the next chunk the night would cost more than its budget."""
        if self._rate is None:
            return
        rate = self._rate.documents_per_s
        if done:
            rate = done / max(1e-3, self._budget.spent_s - self._scoring_from_s)
        self._budget.refuse(rows / rate + self._rate.closing_s(done + rows), f"stopped after scoring {done} rows")

    def compare(self, model: ModelVersion, seconds: float) -> None:
        """Note in the ledger how long the night took beside what was foretold."""
        found = self._ledger.results.get("prediction")
        if found is None:
            with suppress(StorageError, ValueError, KeyError):
                made = json.loads(Storage(self._settings.warehouse).read(_plan_key(self._settings)))
                wanted = (self._settings.documents, str(model), self._settings.mode)
                if (made["documents"], made["model"], made["mode"]) == wanted:
                    self._foretold(f"plan {made['plan']}", float(made["seconds"]))
        found = self._ledger.results.get("prediction")
        if isinstance(found, dict):
            found["actual_seconds"] = round(seconds, 1)
            if self._budget.price is not None:
                found["actual_usd"] = round(self._budget.price.usd(seconds), 6)

    def _foretold(self, by: str, seconds: float) -> None:
        usd = round(self._budget.price.usd(seconds), 6) if self._budget.price is not None else None
        self._ledger.results["prediction"] = {"by": by, "seconds": round(seconds, 1), "usd": usd}
