"""Nights in processes of their own: a killed one, two of one day, and the mark of an active run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
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


# The process waits before it publishes until it is killed.
WAITING = """
reached = Path(settings.pop("reached"))
def waiting(*arguments, **options):
    reached.touch()
    time.sleep(600)
job.publish_night = waiting
"""


@pytest.mark.acceptance
def test_a_second_night_of_a_day_ends_at_once_until_the_first_is_killed(
    registry: Path, warehouse: Path, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    settings = night_settings(source, warehouse, registry)
    reached = tmp_path / "reached"
    first = start_process(WAITING, settings | {"reached": str(reached)}, tmp_path / "first.log")
    deadline = time.monotonic() + PATIENCE_S
    while not reached.exists():
        assert first.poll() is None, (tmp_path / "first.log").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert wait(start_process("", settings, tmp_path / "second.log")) == 75
    refused = (tmp_path / "second.log").read_text()
    (holder,) = live_runs(warehouse)
    assert f"run {holder} (process {first.pid} on" in refused
    assert "spark: version" not in refused, "no work was done"
    os.killpg(first.pid, signal.SIGKILL)
    assert wait(first) == -signal.SIGKILL
    assert sum(path.stat().st_size for path in temporary.rglob("*") if path.is_file()) > 0
    assert wait(start_process("", settings, tmp_path / "third.log")) == 0
    left = [str(path.relative_to(temporary)) for path in temporary.rglob("*")]
    assert [name for name in left if "tlnlp-bundles-" not in name] == [f"tlnlp-score-{os.getuid()}"]
    published = json.loads((tmp_path / "third.log").read_text().splitlines()[-1])
    assert (published["rows_scored"], published["rows_reused"]) == (0, 8)
    assert live_runs(warehouse) == {published["run_id"]}
    assert len(positives(warehouse)) == 8
    assert ledger(warehouse, published["run_id"])["status"] == "succeeded"


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
