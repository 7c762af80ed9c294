"""Cleaning removes the folders of abandoned runs, and nothing that a table refers to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from night_kit import SteppedNight, night, seen
from warehouse_helpers import DAY, live_rows, publish, score_row, sql, write_rows

from tlnlp.errors import StorageError
from tlnlp.warehouse.catalog import open_catalog
from tlnlp.warehouse.clean import clean_runs

LATER = timedelta(hours=25)


def clean(warehouse: Path, now: datetime | None = None, **options: Any) -> list[str]:
    opened = open_catalog(str(warehouse))
    return clean_runs(str(warehouse), opened, now=now or datetime.now(UTC) + LATER, **options)


def runs(warehouse: Path) -> list[str]:
    return sorted(path.name for path in (warehouse / "runs").iterdir())


def test_a_run_killed_before_its_commit_changes_nothing_and_is_cleaned_later(warehouse: Path) -> None:
    publish(warehouse, "r1", 10)
    killed_run = """if True:
        import os, signal, sys
        from pathlib import Path
        from warehouse_helpers import publish
        from tlnlp.warehouse.catalog import WarehouseCatalog

        class Killed(WarehouseCatalog):
            def commit_table(self, *args):
                os.kill(os.getpid(), signal.SIGKILL)

        publish(Path(sys.argv[1]), "killed", 20, catalog=Killed("warehouse", warehouse=sys.argv[1]))"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", killed_run, str(warehouse)]
    done = subprocess.run(command, check=False, env=environment, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert live_rows(warehouse) == 10
    assert clean(warehouse, datetime.now(UTC)) == []
    publish(warehouse, "r2", 5)
    assert runs(warehouse) == ["killed", "r1", "r2"]
    assert clean(warehouse, keep_run="killed") == []
    assert clean(warehouse) == ["killed"]
    assert runs(warehouse) == ["r1", "r2"]
    assert live_rows(warehouse) == 5


def test_of_a_run_killed_between_its_commits_only_the_quarantine_stays(warehouse: Path) -> None:
    night(warehouse, "old")
    killed = SteppedNight(warehouse, "a")
    killed.step()
    killed.step()  # The quarantine has been committed.
    night(warehouse, "next")
    assert clean(warehouse, datetime.now(UTC), has_ended=lambda run_id: run_id == "a") == ["a"]
    left = {path.parts[-3] for path in (warehouse / "runs" / "a").rglob("*.parquet")}
    assert left == {"quarantine"}
    assert clean(warehouse, datetime.now(UTC), has_ended=lambda run_id: run_id == "a") == []
    assert clean(warehouse) == []
    for snapshot in sql(warehouse, "select snapshot_id from history where \"table\" = 'scores'"):
        assert len(seen(warehouse, snapshot=snapshot[0])) == 1


def test_what_any_kept_snapshot_refers_to_stays(warehouse: Path) -> None:
    first = publish(warehouse, "r1", 10)
    publish(warehouse, "r2", 0)
    publish(warehouse, "r3", 4)
    write_rows(warehouse, "dead", [score_row(1, "dead")])
    assert clean(warehouse) == ["dead"]
    old = "select count(*) from scores"
    assert sql(warehouse, old, snapshot=first.snapshot_id) == [(10,)]
    table = open_catalog(str(warehouse)).load_table("tlnlp.scores")
    table.maintenance.expire_snapshots().by_id(first.snapshot_id).commit()
    assert clean(warehouse) == ["r1"]
    assert runs(warehouse) == ["r3"]
    assert live_rows(warehouse) == 4


def test_files_of_another_runs_folder_are_seen_too(warehouse: Path) -> None:
    copied = write_rows(warehouse, "r1", [score_row(1, "r2")])
    publish(warehouse, "r2", 0, files=[copied])
    assert clean(warehouse) == []
    assert live_rows(warehouse) == 1


def test_age_is_that_of_the_newest_object(warehouse: Path) -> None:
    old = write_rows(warehouse, "long", [score_row(1, "long")], chunk="chunk-0")
    write_rows(warehouse, "long", [score_row(2, "long")], chunk="chunk-1")
    two_days_ago = datetime.now(UTC).timestamp() - 48 * 3600
    os.utime(old.removeprefix("file://"), (two_days_ago, two_days_ago))
    assert clean(warehouse, datetime.now(UTC)) == []
    assert clean(warehouse, datetime.now(UTC) + timedelta(hours=2), older_than_s=3600) == ["long"]
    assert runs(warehouse) == []


def test_runs_published_through_another_catalog_are_left_alone(warehouse: Path) -> None:
    publish(warehouse, "r1", 3, DAY)
    pointer = warehouse / "catalog" / "tlnlp" / "scores.json"
    marker = warehouse / "runs" / "r1" / "_catalog.json"
    assert marker.read_text() == '{"catalog": "warehouse"}'
    pointer.unlink()  # as if the run had been published through another catalog
    marker.write_text('{"catalog": "glue"}')
    assert clean(warehouse) == []
    marker.write_text("{")
    assert clean(warehouse) == []
    marker.write_text('{"catalog": "warehouse"}')
    assert clean(warehouse) == ["r1"]


def test_nothing_is_removed_when_a_table_cannot_be_read(warehouse: Path) -> None:
    publish(warehouse, "r1", 3)
    write_rows(warehouse, "dead", [score_row(1, "dead")])
    for manifest in (warehouse / "tables").rglob("*-m0.avro"):
        manifest.unlink()
    # This process may have cached the manifests, so a new process cleans.
    code = """if True:
        import datetime, sys
        from tlnlp.errors import StorageError
        from tlnlp.warehouse.catalog import open_catalog
        from tlnlp.warehouse.clean import clean_runs
        now = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=2)
        try:
            print(clean_runs(sys.argv[1], open_catalog(sys.argv[1]), now=now))
        except StorageError as error:
            print(error)"""
    done = subprocess.run([sys.executable, "-c", code, str(warehouse)], capture_output=True, text=True, check=True)
    assert "nothing was removed" in done.stdout
    assert runs(warehouse) == ["dead", "r1"]


def test_an_unreadable_pointer_removes_nothing(warehouse: Path) -> None:
    publish(warehouse, "r1", 3)
    (warehouse / "catalog" / "tlnlp" / "scores.json").write_text("{")
    with pytest.raises(StorageError):
        clean(warehouse)
    assert runs(warehouse) == ["r1"]


def test_a_new_warehouse_has_nothing_to_clean(warehouse: Path) -> None:
    assert clean(warehouse) == []
