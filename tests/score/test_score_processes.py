"""Nights in processes of their own: a killed one, two at once, and the mark of an active run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from score_kit import (
    counts,
    documents,
    ledger,
    live_runs,
    night,
    night_settings,
    positives,
    start_process,
    write_parquet,
)

from tlnlp.score import lease
from tlnlp.storage import Storage
from tlnlp.warehouse.run_folder import LEASE

PATIENCE_S = 240


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_parquet(tmp_path / "documents.parquet", documents(8))


def wait(process: subprocess.Popen[bytes]) -> int:
    """Wait for the process, kill what is left of its process group, and return its exit code."""
    try:
        return process.wait(PATIENCE_S)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


KILLED = """
def killed(*arguments, **options):
    os.kill(os.getpid(), signal.SIGKILL)
job.publish_night = killed
"""


def test_a_driver_killed_before_publishing_leaves_the_table_and_is_cleaned_up_after(
    spark: SparkSession,
    registry: Path,
    warehouse: Path,
    source: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    night(source, warehouse, registry)
    scores, runs = positives(warehouse), live_runs(warehouse)
    write_parquet(source, [*documents(8)[1:], {"id": "new", "text": "good new bread"}])
    process = start_process(KILLED, night_settings(source, warehouse, registry), tmp_path / "log")
    assert wait(process) == -signal.SIGKILL, (tmp_path / "log").read_text()
    (dead,) = live_runs(warehouse) - runs
    staged = [path.parts[-3] for path in (warehouse / "runs" / dead).rglob("*.parquet")]
    assert {"scores-0000", "reused"} <= set(staged)
    assert positives(warehouse) == scores
    capfd.readouterr()
    result = night(source, warehouse, registry)
    # The scores of the dead run are reused.
    assert (counts(result)["rows_scored"], counts(result)["rows_reused"]) == (0, 8)
    assert f"removed the files of 1 dead run: {dead}" in capfd.readouterr().err
    assert live_runs(warehouse) == {*runs, result.run_id}
    assert set(positives(warehouse)) == {row["id"] for row in documents(8)[1:]} | {"new"}


# Each process waits before it publishes, until both processes have reached this point.
TOGETHER = """
publish, meeting = job.publish_night, Path(settings.pop("meeting"))
def together(*arguments, **options):
    (meeting / str(os.getpid())).touch()
    while len(list(meeting.iterdir())) < 2:
        time.sleep(0.05)
    return publish(*arguments, **options)
job.publish_night = together
"""


@pytest.mark.acceptance
def test_of_two_simultaneous_nights_of_one_day_one_publishes_and_the_other_reports_the_conflict(
    registry: Path, warehouse: Path, source: Path, tmp_path: Path
) -> None:
    meeting = tmp_path / "meeting"
    meeting.mkdir()
    settings = night_settings(source, warehouse, registry) | {"meeting": str(meeting)}
    logs = [tmp_path / "a.log", tmp_path / "b.log"]
    processes = [start_process(TOGETHER, settings, log) for log in logs]
    codes = [wait(process) for process in processes]
    outputs = [log.read_text() for log in logs]
    assert sorted(codes) == [0, 9], outputs
    won, lost = outputs[codes.index(0)], outputs[codes.index(9)]
    assert "Traceback" not in lost
    winner = json.loads(won.splitlines()[-1])
    assert f"run {winner['run_id']} published 2026-11-23 while run" in lost
    assert len(positives(warehouse)) == 8
    (loser,) = [path.stem for path in (warehouse / "ledgers").iterdir() if path.stem != winner["run_id"]]
    assert ledger(warehouse, loser)["error"]["exit_code"] == 9
    assert ledger(warehouse, winner["run_id"])["status"] == "succeeded"


def test_a_lease_distinguishes_an_active_run_from_a_dead_one(tmp_path: Path) -> None:
    run = Storage(str(tmp_path / "runs" / "one"))
    assert not lease.has_ended(run)
    with lease.held(run):
        assert not lease.has_ended(run)
        mark = json.loads(run.read(LEASE))
    assert not run.exists(LEASE)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    run.write(LEASE, json.dumps(mark | {"pid": ended.pid}).encode())
    assert lease.has_ended(run)
    run.write(LEASE, json.dumps(mark | {"pid": ended.pid, "machine": "elsewhere"}).encode())
    assert not lease.has_ended(run)
    run.write(LEASE, b"not json")
    assert not lease.has_ended(run)
