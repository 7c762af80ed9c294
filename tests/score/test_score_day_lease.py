"""Of the runs of one day, one at a time works: the others end before they begin, and a dead run blocks nobody."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import date
from pathlib import Path

import pytest
from score_kit import documents, live_runs, night, only_ledger, write_parquet

from tlnlp.errors import DayHeldError
from tlnlp.score import lease
from tlnlp.score.day_lease import FOLDER, DayLease, remove_days_of
from tlnlp.warehouse.run_folder import LEASE, run_storage

TODAY = date(2026, 11, 23)


def day_of(warehouse: Path, run_id: str) -> DayLease:
    return DayLease(str(warehouse), "scores", TODAY, run_id)


@contextmanager
def working(warehouse: Path, run_id: str, take_over: bool = False) -> Iterator[DayLease]:
    """Hold the lease of a run's folder and its day, as a night does."""
    day = day_of(warehouse, run_id)
    with lease.held(run_storage(str(warehouse), run_id)), day.held(take_over):
        yield day


def days(warehouse: Path) -> list[Path]:
    return sorted((warehouse / FOLDER).rglob("*.json"))


def test_a_second_run_is_refused_and_learns_of_the_first(warehouse: Path) -> None:
    message = (
        rf"table scores: run one \(process {os.getpid()} on \S+\) has been scoring 2026-11-23 since "
        r"20\d\d-\S+ and gave a sign of life \d s ago, so this run ended before it read anything; .*"
        "free 60 s after its last sign of life, or at once with --set take_over=true"
    )
    with working(warehouse, "one"):
        with pytest.raises(DayHeldError, match=message), working(warehouse, "two"):
            pass
        assert live_runs(warehouse) == {"one"}
        other = DayLease(str(warehouse), "scores", date(2026, 11, 24), "two")
        with lease.held(run_storage(str(warehouse), "two")), other.held():
            assert len(days(warehouse)) == 2
    assert days(warehouse) == []
    with working(warehouse, "two"):
        pass


def test_a_killed_run_of_this_machine_blocks_nobody(warehouse: Path) -> None:
    code = """if True:
        import os, signal, sys
        from datetime import date
        from tlnlp.score import lease
        from tlnlp.score.day_lease import DayLease
        from tlnlp.warehouse.run_folder import run_storage
        day = DayLease(sys.argv[1], "scores", date(2026, 11, 23), "killed")
        with lease.held(run_storage(sys.argv[1], "killed")), day.held():
            os.kill(os.getpid(), signal.SIGKILL)"""
    done = subprocess.run([sys.executable, "-c", code, str(warehouse)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert (warehouse / "runs" / "killed" / LEASE).exists()
    assert len(days(warehouse)) == 1
    with working(warehouse, "two") as day:
        day.check()
    assert days(warehouse) == []


def leave_dead(warehouse: Path, run_id: str, age_s: float, **changes: object) -> None:
    """Leave what a run of another machine has that was killed ``age_s`` seconds ago; ``changes`` are of its mark."""
    with ExitStack() as stack:
        stack.enter_context(working(warehouse, run_id))
        mark = warehouse / "runs" / run_id / LEASE
        kept = {path: path.read_bytes() for path in (mark, *days(warehouse))}
    for path, data in kept.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    mark.write_text(json.dumps(json.loads(mark.read_text()) | {"machine": "elsewhere"} | changes))
    os.utime(mark, (time.time() - age_s,) * 2)


@pytest.mark.parametrize("age_s", [5, lease.EXPIRES_S - 10, lease.EXPIRES_S + 1])
def test_a_run_of_another_machine_holds_its_day_for_a_minute_after_its_last_sign(warehouse: Path, age_s: float) -> None:
    leave_dead(warehouse, "far", age_s)
    if age_s > lease.EXPIRES_S:
        with working(warehouse, "two"):
            pass
        return
    with pytest.raises(DayHeldError, match=f"on elsewhere.* {age_s:.0f} s ago"), working(warehouse, "two"):
        pass
    with working(warehouse, "two", take_over=True):
        pass


@pytest.mark.parametrize("apart_s", [5, lease.EXPIRES_S + 5])
def test_the_clock_of_this_machine_does_not_matter(warehouse: Path, apart_s: float) -> None:
    leave_dead(warehouse, "far", 0)
    long_ago = 10**9  # The store's clock is decades behind.
    os.utime(warehouse / "runs" / "far" / LEASE, (long_ago, long_ago))
    run = run_storage(str(warehouse), "two")
    with lease.held(run):
        os.utime(warehouse / "runs" / "two" / LEASE, (long_ago + apart_s,) * 2)
        if apart_s > lease.EXPIRES_S:
            with day_of(warehouse, "two").held():
                return
        with pytest.raises(DayHeldError, match=r"sign of life 5 s ago"), day_of(warehouse, "two").held():
            pass


def test_a_process_id_that_was_given_again_does_not_revive_a_dead_run(warehouse: Path) -> None:
    leave_dead(warehouse, "one", 5, machine=lease.this_machine())
    with pytest.raises(DayHeldError), working(warehouse, "two"):
        pass
    mark = warehouse / "runs" / "one" / LEASE
    mark.write_text(json.dumps(json.loads(mark.read_text()) | {"started": "1"}))
    with working(warehouse, "two"):
        pass


def test_a_run_whose_day_was_taken_over_notices(warehouse: Path) -> None:
    with working(warehouse, "one") as first:
        first.check()
        with working(warehouse, "two", take_over=True) as second:
            with pytest.raises(DayHeldError, match="run two has taken 2026-11-23 over, so run one ended"):
                first.check()
            second.check()
    assert days(warehouse) == []


def test_of_many_runs_that_start_at_once_one_holds_the_day(warehouse: Path) -> None:
    leave_dead(warehouse, "dead", lease.EXPIRES_S + 100)

    def start(number: int) -> str:
        try:
            with working(warehouse, f"r{number}"):
                time.sleep(1)
                return "held"
        except DayHeldError:
            return "refused"

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(start, range(8)))
    assert sorted(outcomes) == ["held", *["refused"] * 7]


def test_the_days_of_removed_runs_are_removed(warehouse: Path) -> None:
    leave_dead(warehouse, "dead", 0)
    remove_days_of(str(warehouse), [])
    remove_days_of(str(warehouse), ["another"])
    assert len(days(warehouse)) == 1
    remove_days_of(str(warehouse), ["dead"])
    assert days(warehouse) == []


def test_a_night_of_a_held_day_ends_before_spark_starts(
    registry: Path, warehouse: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_spark(*_: object, **__: object) -> None:
        raise RuntimeError("Spark must not start in this test")

    monkeypatch.setattr("tlnlp.score.night_context.spark_session", no_spark)
    source = write_parquet(tmp_path / "documents.parquet", documents(4))
    with working(warehouse, "one"):
        with pytest.raises(DayHeldError, match="run one"):
            night(source, warehouse, registry)
        assert live_runs(warehouse) == {"one"}
        assert only_ledger(warehouse)["error"]["exit_code"] == 75
        with pytest.raises(RuntimeError, match="Spark must not start"):
            night(source, warehouse, registry, take_over=True)
    with pytest.raises(RuntimeError, match="Spark must not start"):
        night(source, warehouse, registry)
