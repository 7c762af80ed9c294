"""Budgets, plans, and reuse of the finished pieces of a stopped or killed night."""

from __future__ import annotations

import json
import os
import shutil
import signal
from contextlib import suppress
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from score_kit import (
    MODEL,
    NEXT_DAY,
    counts,
    documents,
    ledger,
    live_runs,
    night,
    night_settings,
    only_ledger,
    positives,
    start_process,
    write_parquet,
)

from tlnlp.config import CostSettings, ScoreSettings
from tlnlp.errors import BudgetError, NothingToPublishError, UsageError
from tlnlp.runs.cost import Budget
from tlnlp.score import plan as planning
from tlnlp.score.plan import plan

pytestmark = pytest.mark.usefixtures("spark")
PATIENCE_S = 240
ROWS = 24


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_parquet(tmp_path / "documents.parquet", documents(ROWS))


def pieces(warehouse: Path, run_id: str) -> list[Path]:
    return sorted((warehouse / "runs" / run_id / "manifests").glob("scores-*.json"))


def staged_rows(warehouse: Path, run_id: str) -> int:
    return sum(json.loads(path.read_text())["rows"] for path in pieces(warehouse, run_id))


def unfinished(warehouse: Path) -> set[str]:
    folder = warehouse / "unfinished"
    return {path.stem for path in folder.glob("*.json")} if folder.exists() else set()


def stopped_night(source: Path, warehouse: Path, registry: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a night that stops after its third chunk, because its clock then jumps past the budget; return its id."""

    def timer() -> float:
        return 1e6 if len(list(warehouse.rglob("manifests/scores-*.json"))) >= 3 else 0.0

    class JumpingBudget(Budget):
        def __init__(self, settings: CostSettings) -> None:
            super().__init__(settings, timer=timer)

    with monkeypatch.context() as patch:
        patch.setattr(planning, "Budget", JumpingBudget)
        patch.setattr(planning, "FINALIZE_S", 0.0)
        with pytest.raises(BudgetError, match=r"stopped after scoring \d+ rows: "):
            night(source, warehouse, registry, chunk_rows=1, cost={"usd_per_hour": 1.0, "budget_usd": 5.0})
    (run_id,) = unfinished(warehouse)
    return run_id


def test_a_night_over_its_budget_scores_nothing(source: Path, warehouse: Path, registry: Path) -> None:
    with pytest.raises(BudgetError, match=f"{ROWS} documents: .* more than cost.budget_usd=0.01"):
        night(source, warehouse, registry, cost={"usd_per_hour": 1e4, "budget_usd": 0.01})
    failed = only_ledger(warehouse)
    assert failed["error"]["exit_code"] == 10
    assert failed["counts"]["rows_in"] == ROWS
    assert failed["results"]["prediction"]["usd"] > 0.01
    assert failed["cost"]["usd"] > 0.01
    assert (live_runs(warehouse), unfinished(warehouse)) == (set(), set())
    assert not (warehouse / "catalog").exists()


def test_a_night_within_its_budget_records_its_cost(source: Path, warehouse: Path, registry: Path) -> None:
    cost = {"instance": "ours", "instances": 2, "usd_per_hour": 0.25, "budget_usd": 100.0}
    result = night(source, warehouse, registry, cost=cost)
    assert counts(result)["rows_scored"] == ROWS
    saved = ledger(warehouse, result.run_id)
    assert saved["cost"]["usd"] == pytest.approx(0.5 * saved["duration_s"] / 3600, rel=0.01)
    assert 0 < result.to_json()["usd"] <= saved["cost"]["usd"]
    prediction = saved["results"]["prediction"]
    assert prediction["by"] == "estimate"
    assert prediction["actual_seconds"] == pytest.approx(result.seconds, abs=0.2)
    assert prediction["actual_usd"] == pytest.approx(0.5 * result.seconds / 3600, rel=0.01)
    assert prediction["seconds"] > 1
    assert unfinished(warehouse) == set()
    with pytest.raises(UsageError, match="needs a price"):
        night(source, warehouse, registry, cost={"budget_usd": 1.0})


def test_the_next_night_reuses_the_pieces_of_a_stopped_night(
    source: Path, warehouse: Path, registry: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stopped = stopped_night(source, warehouse, registry, monkeypatch)
    finished = staged_rows(warehouse, stopped)
    assert 3 <= finished < ROWS
    assert not list((warehouse / "runs" / stopped).glob("prepared*"))
    # Scores of version 1 are not reused for version 2.
    other = night(source, warehouse, registry, model=f"{MODEL}@2", score_date=NEXT_DAY)
    assert counts(other)["rows_scored"] == ROWS
    assert stopped not in live_runs(warehouse), "an ended run of this table is removed"
    stopped = stopped_night(source, tmp_path / "two", registry, monkeypatch)
    finished = staged_rows(tmp_path / "two", stopped)
    # A night of another table neither reuses the pieces nor removes them.
    aside = night(source, tmp_path / "two", registry, table="aside")
    assert counts(aside)["rows_scored"] == ROWS
    assert stopped in live_runs(tmp_path / "two")
    again = night(source, tmp_path / "two", registry)
    assert (counts(again)["rows_reused"], counts(again)["rows_scored"]) == (finished, ROWS - finished)
    assert positives(tmp_path / "two") == pytest.approx(positives(tmp_path / "two", table="aside"), abs=1e-6)
    assert unfinished(tmp_path / "two") == set()
    assert live_runs(tmp_path / "two") == {aside.run_id, again.run_id}


KILLED = """
import tlnlp.score.plan as plan
def killed(self, done, rows):
    if done:
        os.kill(os.getpid(), signal.SIGKILL)
plan.NightBudget.before_chunk = killed
"""


@pytest.mark.acceptance
def test_the_next_night_reuses_the_pieces_of_a_killed_night_unless_they_are_damaged(
    source: Path, warehouse: Path, registry: Path, tmp_path: Path
) -> None:
    settings = night_settings(source, warehouse, registry, chunk_rows=4)
    process = start_process(KILLED, settings, tmp_path / "log")
    try:
        assert process.wait(PATIENCE_S) == -signal.SIGKILL, (tmp_path / "log").read_text()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    (dead,) = unfinished(warehouse)
    finished = staged_rows(warehouse, dead)
    assert 0 < finished < ROWS
    damaged = tmp_path / "damaged"
    shutil.copytree(warehouse, damaged)
    for path in (damaged / "runs" / dead).glob("scores-*/*/*.parquet"):
        path.unlink()
    assert counts(night(source, damaged, registry))["rows_scored"] == ROWS

    again = night(source, warehouse, registry)
    assert (counts(again)["rows_reused"], counts(again)["rows_scored"]) == (finished, ROWS - finished)
    assert positives(warehouse) == pytest.approx(positives(damaged), abs=1e-6)
    assert live_runs(warehouse) == {again.run_id}


def test_a_plan_publishes_nothing_and_is_compared_with_the_night(
    source: Path, warehouse: Path, registry: Path, tmp_path: Path
) -> None:
    cost = {"usd_per_hour": 0.36, "instance": "ours"}
    settings = night_settings(source, warehouse, registry, cost=cost)
    prediction = plan(ScoreSettings(**settings))
    facts = prediction.facts()
    assert facts["documents"] == f"{ROWS} in the input, {ROWS} to score"
    assert facts["throughput"].endswith(f" documents a second, measured on {ROWS} here")
    assert facts["cost"].endswith(" USD")
    assert facts["memory"].count(" MiB ") == 3
    planned = prediction.to_json()
    assert 0 < planned["scoring_s"] < planned["seconds"]
    assert (planned["rows_in"], planned["rows_to_score"], planned["sample"]) == (ROWS, ROWS, ROWS)
    assert planned["documents_per_s"] > 0
    assert planned["usd"] == pytest.approx(planned["seconds"] * 0.0001, rel=0.01)
    assert min(planned[f"peak_{process}_bytes"] for process in ("worker", "driver", "jvm")) > 1e7
    assert live_runs(warehouse) == set()
    assert not (warehouse / "catalog").exists()
    result = night(source, warehouse, registry, cost=cost)
    recorded = ledger(warehouse, result.run_id)["results"]["prediction"]
    assert recorded["by"].startswith("plan ")
    assert recorded["seconds"] == planned["seconds"]
    assert recorded["actual_seconds"] == pytest.approx(result.seconds, abs=0.2)
    # The day is published, so a night would only copy its scores.
    assert plan(ScoreSettings(**settings)).rows_to_score == 0
    # A night of other documents is not compared with this plan.
    moved = write_parquet(tmp_path / "others.parquet", documents(3, seed=9))
    third = night(moved, warehouse, registry, source=f"file://{source}", score_date=NEXT_DAY)
    assert "prediction" not in ledger(warehouse, third.run_id)["results"]
    nothing = write_parquet(tmp_path / "nothing.parquet", documents(1))
    pq.write_table(pq.read_table(nothing).slice(0, 0), nothing)
    with pytest.raises(NothingToPublishError, match="holds no documents; there is nothing to plan"):
        plan(ScoreSettings(**settings | {"documents": str(nothing), "table": "other"}))
