"""Budgets, plans, and going on from what a stopped or killed night has finished."""

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
    """The id of a night whose clock leaps once its third chunk is there, so that its budget ends it."""

    class Leaping(Budget):
        def __init__(self, settings: CostSettings) -> None:
            leaps = lambda: 1e6 if len(list(warehouse.rglob("manifests/scores-*.json"))) >= 3 else 0.0  # noqa: E731
            super().__init__(settings, timer=leaps)

    with monkeypatch.context() as patch:
        patch.setattr(planning, "Budget", Leaping)
        patch.setattr(planning, "CLOSING_S", 0.0)
        with pytest.raises(BudgetError, match="stopped after scoring"):
            night(source, warehouse, registry, chunk_rows=1, cost={"usd_per_hour": 1.0, "budget_usd": 5.0})
    (run_id,) = unfinished(warehouse)
    return run_id


def test_a_night_over_its_budget_scores_nothing(source: Path, warehouse: Path, registry: Path) -> None:
    with pytest.raises(BudgetError, match=f"{ROWS} documents: .* more than cost.budget_usd=0.01"):
        night(source, warehouse, registry, cost={"usd_per_hour": 1e4, "budget_usd": 0.01})
    told = only_ledger(warehouse)
    assert told["error"]["exit_code"] == 10
    assert told["counts"]["rows_in"] == ROWS
    assert told["results"]["prediction"]["usd"] > 0.01
    assert told["cost"]["usd"] > 0.01
    assert (live_runs(warehouse), unfinished(warehouse)) == (set(), set())
    assert not (warehouse / "catalog").exists()


def test_a_night_within_its_budget_says_what_it_cost(source: Path, warehouse: Path, registry: Path) -> None:
    cost = {"instance": "ours", "instances": 2, "usd_per_hour": 0.25, "budget_usd": 100.0}
    result = night(source, warehouse, registry, cost=cost)
    assert counts(result)["rows_scored"] == ROWS
    told = ledger(warehouse, result.run_id)
    assert told["cost"]["usd"] == pytest.approx(0.5 * told["duration_s"] / 3600, rel=0.01)
    assert 0 < result.to_json()["usd"] <= told["cost"]["usd"]
    foretold = told["results"]["prediction"]
    assert foretold["by"] == "estimate"
    assert foretold["actual_seconds"] == pytest.approx(result.seconds, abs=0.2)
    assert foretold["actual_usd"] == pytest.approx(0.5 * result.seconds / 3600, rel=0.01)
    assert foretold["seconds"] > 1
    assert unfinished(warehouse) == set()
    with pytest.raises(UsageError, match="needs a price"):
        night(source, warehouse, registry, cost={"budget_usd": 1.0})


def test_a_stopped_night_is_gone_on_from(
    source: Path, warehouse: Path, registry: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stopped = stopped_night(source, warehouse, registry, monkeypatch)
    kept = staged_rows(warehouse, stopped)
    assert 3 <= kept < ROWS
    assert not list((warehouse / "runs" / stopped).glob("prepared*"))
    # A version of the model is another model: nothing of version 1 is taken over.
    other = night(source, warehouse, registry, model=f"{MODEL}@2", score_date=NEXT_DAY)
    assert counts(other)["rows_scored"] == ROWS
    assert stopped not in live_runs(warehouse), "a run of this table, and over"
    stopped = stopped_night(source, tmp_path / "two", registry, monkeypatch)
    kept = staged_rows(tmp_path / "two", stopped)
    # Nor does another table take it, or clean it away.
    aside = night(source, tmp_path / "two", registry, table="aside")
    assert counts(aside)["rows_scored"] == ROWS
    assert stopped in live_runs(tmp_path / "two")
    again = night(source, tmp_path / "two", registry)
    assert (counts(again)["rows_reused"], counts(again)["rows_scored"]) == (kept, ROWS - kept)
    assert positives(tmp_path / "two") == pytest.approx(positives(tmp_path / "two", table="aside"), abs=1e-6)
    assert unfinished(tmp_path / "two") == set()
    assert live_runs(tmp_path / "two") == {aside.run_id, again.run_id}


KILLED = """
import tlnlp.score.plan as plan
def killed(self, done, rows):
    if done:
        os.kill(os.getpid(), signal.SIGKILL)
plan.Pace.before_chunk = killed
"""


@pytest.mark.acceptance
def test_a_killed_night_is_gone_on_from_and_a_damaged_piece_is_not(
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
    kept = staged_rows(warehouse, dead)
    assert 0 < kept < ROWS
    damaged = tmp_path / "damaged"
    shutil.copytree(warehouse, damaged)
    for path in (damaged / "runs" / dead).glob("scores-*/*/*.parquet"):
        path.unlink()
    assert counts(night(source, damaged, registry))["rows_scored"] == ROWS

    again = night(source, warehouse, registry)
    assert (counts(again)["rows_reused"], counts(again)["rows_scored"]) == (kept, ROWS - kept)
    assert positives(warehouse) == pytest.approx(positives(damaged), abs=1e-6)
    assert live_runs(warehouse) == {again.run_id}


def test_a_plan_publishes_nothing_and_is_held_against_the_night(
    source: Path, warehouse: Path, registry: Path, tmp_path: Path
) -> None:
    cost = {"usd_per_hour": 0.36, "instance": "ours"}
    settings = night_settings(source, warehouse, registry, cost=cost)
    foretold = plan(ScoreSettings(**settings)).to_json()
    assert (foretold["rows_in"], foretold["rows_to_score"], foretold["sample"]) == (ROWS, ROWS, ROWS)
    assert foretold["documents_per_s"] > 0
    assert foretold["usd"] == pytest.approx(foretold["seconds"] * 0.0001, rel=0.01)
    assert min(foretold[f"peak_{who}_bytes"] for who in ("worker", "driver", "jvm")) > 1e7
    assert live_runs(warehouse) == set()
    assert not (warehouse / "catalog").exists()
    result = night(source, warehouse, registry, cost=cost)
    held = ledger(warehouse, result.run_id)["results"]["prediction"]
    assert held["by"].startswith("plan ")
    assert held["seconds"] == foretold["seconds"]
    assert held["actual_seconds"] == pytest.approx(result.seconds, abs=0.2)
    # The day is there: to score it again is to copy it, and the plan knows.
    assert plan(ScoreSettings(**settings)).rows_to_score == 0
    # A plan of other documents is not what this night is held against.
    moved = write_parquet(tmp_path / "others.parquet", documents(3, seed=9))
    third = night(moved, warehouse, registry, source=f"file://{source}", score_date=NEXT_DAY)
    assert "prediction" not in ledger(warehouse, third.run_id)["results"]
    nothing = write_parquet(tmp_path / "nothing.parquet", documents(1))
    pq.write_table(pq.read_table(nothing).slice(0, 0), nothing)
    with pytest.raises(NothingToPublishError):
        plan(ScoreSettings(**settings | {"documents": str(nothing), "table": "other"}))
