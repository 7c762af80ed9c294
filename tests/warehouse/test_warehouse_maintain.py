"""Maintenance shrinks what lies beside the rows, and changes no row, whatever runs beside it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from night_kit import SteppedNight, night, seen, stored
from warehouse_helpers import DAY, live_rows, publish, score_row, sql, write_rows

from tlnlp.errors import NotFoundError, UsageError
from tlnlp.warehouse.catalog import WarehouseCatalog, open_catalog
from tlnlp.warehouse.clean import clean_runs
from tlnlp.warehouse.maintain import Maintained, maintain
from tlnlp.warehouse.state_table import read_state, replace_state
from tlnlp.warehouse.tables import load_table

MONTH = timedelta(days=31)
CONTENT = "select score_date, document_id, label, run_id from scores order by all"


def run(warehouse: Path, later: timedelta = MONTH, catalog: WarehouseCatalog | None = None) -> Maintained:
    return maintain(str(warehouse), catalog or open_catalog(str(warehouse)), now=datetime.now(UTC) + later)


def fill(warehouse: Path, days: int = 12) -> None:
    """Publish so many days, and one of them again."""
    for number in range(days):
        publish(warehouse, f"r{number}", 3, DAY + timedelta(days=number))
    publish(warehouse, "again", 2, DAY)


def metadata(warehouse: Path, pattern: str = "*.avro") -> int:
    return len(list((warehouse / "tables" / "scores" / "metadata").glob(pattern)))


def test_many_nights_become_few_manifests_and_one_snapshot(warehouse: Path) -> None:
    fill(warehouse, 9)
    before, files = sql(warehouse, CONTENT), metadata(warehouse)
    done = run(warehouse)
    # Each night has one; the night that replaced another has two, and the replaced one's has gone.
    assert (done.manifests_before, done.manifests_after) == (10, 2)
    assert (done.tables, done.snapshots_expired, done.rows_removed) == (1, 10, 0)
    assert metadata(warehouse) == 3
    assert done.files_removed == files
    assert sql(warehouse, CONTENT) == before
    assert done.runs_removed == ("r0",)
    assert live_rows(warehouse) == 26
    again = run(warehouse)
    assert (again.manifests_after, again.snapshots_expired, again.files_removed) == (2, 0, 0)
    # Nights go on, and a day of the merged manifest can be replaced.
    publish(warehouse, "later", 1, DAY + timedelta(days=3))
    assert live_rows(warehouse) == 24
    current = "select count(*) from history where current and score_date is not null"
    assert sql(warehouse, current) == [(1,)]


def test_young_snapshots_and_files_stay(warehouse: Path) -> None:
    fill(warehouse)
    before = sql(warehouse, CONTENT)
    old = sql(warehouse, "select max(snapshot_id) filter (run_id = 'r4') from history")[0][0]
    done = run(warehouse, timedelta(hours=2))
    assert (done.snapshots_expired, done.files_removed, done.runs_removed) == (0, 0, ())
    assert sql(warehouse, "select count(*) from scores", snapshot=old) == [(15,)]
    assert sql(warehouse, CONTENT) == before
    run(warehouse)
    with pytest.raises(UsageError, match="no table has a snapshot"):
        sql(warehouse, "select count(*) from scores", snapshot=old)


def test_only_rows_that_no_reader_sees_leave_the_quarantine(warehouse: Path) -> None:
    night(warehouse, "old")
    killed = SteppedNight(warehouse, "a")
    killed.step()
    killed.step()  # Its quarantine has been committed, and its scores have not.
    before = seen(warehouse)
    assert stored(warehouse) == {"old": 2, "a": 3}
    assert run(warehouse, timedelta(hours=2)).rows_removed == 0
    assert run(warehouse).rows_removed == 3
    assert stored(warehouse) == {"old": 2}
    assert seen(warehouse) == before == {"old": (3, 2)}


def test_after_expiry_the_files_say_who_has_published_a_day(warehouse: Path) -> None:
    night(warehouse, "old")
    killed = SteppedNight(warehouse, "a")
    killed.step()
    killed.step()
    for number in range(9):
        publish(warehouse, f"r{number}", 1, DAY + timedelta(days=1 + number))
    table = load_table(open_catalog(str(warehouse)), "scores")
    assert table is not None
    current = table.current_snapshot()
    old = [one.snapshot_id for one in table.snapshots() if current and one.snapshot_id != current.snapshot_id]
    table.maintenance.expire_snapshots().by_ids(old).commit()
    assert seen(warehouse)["old"] == (3, 2)
    assert "a" not in seen(warehouse)


def test_a_night_that_commits_at_the_same_time_wins(warehouse: Path) -> None:
    """A night publishes between the reading and the commit of maintenance, which then reads again."""
    fill(warehouse)
    nights = iter(range(100, 102))

    class Racing(WarehouseCatalog):
        def commit_table(self, *arguments: Any) -> Any:
            if (number := next(nights, None)) is not None:
                publish(warehouse, f"r{number}", 1, DAY + timedelta(days=number))
            return super().commit_table(*arguments)

    before = live_rows(warehouse)
    done = run(warehouse, catalog=Racing("warehouse", warehouse=str(warehouse)))
    assert live_rows(warehouse) == before + 2
    assert done.manifests_after <= 3


def test_what_the_state_was_made_from_stays(warehouse: Path) -> None:
    fill(warehouse)
    catalog = open_catalog(str(warehouse))
    scores = load_table(catalog, "scores")
    assert scores is not None
    last = DAY + timedelta(days=11)
    for number in range(3):  # Each state replaces the one before.
        folder = warehouse / "state" / "scores" / f"m{number}"
        file = write_rows(warehouse, f"m{number}", [score_row(number, "r1")], chunk="state")
        folder.mkdir(parents=True)
        Path(file.removeprefix("file://")).rename(folder / f"part-{number}.parquet")
        replace_state(catalog, scores, [f"file://{folder}/part-{number}.parquet"], last)
    publish(warehouse, "later", 1, last + timedelta(days=1))
    done = run(warehouse)
    after = load_table(catalog, "scores")
    assert after is not None
    found = read_state(catalog, after)
    assert found is not None
    assert found.rows == 1
    # Of the states, the current one and the one before it are kept.
    left = sorted(path.name for path in (warehouse / "state").rglob("*.parquet"))
    assert left == ["part-1.parquet", "part-2.parquet"]
    assert done.tables == 2
    assert clean_runs(str(warehouse), catalog, now=datetime.now(UTC) + MONTH) == []


def test_a_warehouse_without_tables_is_refused(warehouse: Path) -> None:
    with pytest.raises(NotFoundError, match="nothing has been published"):
        run(warehouse)
