"""The state of a table is read as long as it holds, and never after its days have changed."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyiceberg.table import Table
from warehouse_helpers import DAY, publish, score_row, sql, write_rows

from tlnlp.errors import EngineError
from tlnlp.warehouse.catalog import open_catalog
from tlnlp.warehouse.publish import Publication, publish_day
from tlnlp.warehouse.schema import SCORES, Column
from tlnlp.warehouse.state_table import read_state, replace_state, source_snapshot
from tlnlp.warehouse.tables import load_table, maintenance_summary

NEXT = DAY + timedelta(days=1)


def scores(warehouse: Path) -> Table:
    table = load_table(open_catalog(str(warehouse)), "scores")
    assert table is not None
    return table


def state_of(warehouse: Path) -> Any:
    return read_state(open_catalog(str(warehouse)), scores(warehouse))


def make_state(warehouse: Path, rows: int = 4, through: date = DAY) -> str:
    """Let the state hold one file with so many rows, and return its URI."""
    file = write_rows(warehouse, "merging", [score_row(number, "r1") for number in range(rows)], chunk="state")
    replace_state(open_catalog(str(warehouse)), scores(warehouse), [file], through)
    return file


def test_there_is_no_state_at_first(warehouse: Path) -> None:
    publish(warehouse, "r1", 4)
    assert state_of(warehouse) is None
    assert source_snapshot(open_catalog(str(warehouse)), "scores") is None


def test_a_state_holds_while_only_later_days_are_published(warehouse: Path) -> None:
    publish(warehouse, "r1", 4)
    file = make_state(warehouse)
    for day in (NEXT, NEXT + timedelta(days=1), NEXT):
        publish(warehouse, f"r{day}{len(sql(warehouse, 'from history'))}", 2, day)
    found = state_of(warehouse)
    assert (found.files, found.rows, found.through) == ((file,), 4, DAY)
    # Maintenance changes no row, so the state holds after it.
    table = scores(warehouse)
    with table.transaction() as transaction:
        transaction.update_snapshot(snapshot_properties=maintenance_summary()).fast_append().commit()
    assert state_of(warehouse) == found


@pytest.mark.parametrize("day", [DAY, DAY - timedelta(days=3)])
def test_a_state_ends_when_one_of_its_days_is_published(warehouse: Path, day: date) -> None:
    publish(warehouse, "r1", 4)
    make_state(warehouse)
    publish(warehouse, "r2", 4, day)
    assert state_of(warehouse) is None
    make_state(warehouse)
    assert state_of(warehouse).through == DAY


def test_a_state_ends_when_another_engine_changes_the_table(warehouse: Path) -> None:
    publish(warehouse, "r1", 4)
    publish(warehouse, "r2", 4, NEXT)
    make_state(warehouse)
    scores(warehouse).delete("document_id == 'd1'")
    assert state_of(warehouse) is None


def test_a_state_ends_when_its_snapshot_has_expired(warehouse: Path) -> None:
    first = publish(warehouse, "r1", 4)
    make_state(warehouse)
    publish(warehouse, "r2", 4, NEXT)
    assert state_of(warehouse) is not None
    assert source_snapshot(open_catalog(str(warehouse)), "scores") == first.snapshot_id
    scores(warehouse).maintenance.expire_snapshots().by_id(first.snapshot_id).commit()
    assert state_of(warehouse) is None


def test_a_new_state_replaces_the_old_one_and_takes_new_columns(warehouse: Path) -> None:
    publish(warehouse, "r1", 4)
    make_state(warehouse)
    catalog, shop = open_catalog(str(warehouse)), Column("shop", "string")
    rows = [score_row(1, "r2", NEXT, shop="north")]
    file = write_rows(warehouse, "r2", rows, [*SCORES, shop])
    given: dict[str, Any] = {"source": "file:///documents", "model": "reviews", "summary": {}, "kept": (shop,)}
    publish_day(catalog, Publication("scores", NEXT, (file,), run_id="r2", **given))
    replace_state(catalog, scores(warehouse), [file], NEXT)
    found = state_of(warehouse)
    assert (found.files, found.rows, found.through) == ((file,), 1, NEXT)
    state = load_table(catalog, "scores_state")
    assert state is not None
    assert state.scan(selected_fields=("document_id", "shop")).to_arrow().to_pylist() == [
        {"document_id": "d1", "shop": "north"}
    ]


def test_a_file_that_does_not_fit_is_refused(warehouse: Path) -> None:
    publish(warehouse, "r1", 4)
    file = write_rows(warehouse, "x", [{"odd": "1"}], [Column("odd", "string")])
    with pytest.raises(EngineError, match="does not fit"):
        replace_state(open_catalog(str(warehouse)), scores(warehouse), [file], DAY)
    assert state_of(warehouse) is None


def test_readers_see_no_state_and_each_documents_newest_row(warehouse: Path) -> None:
    publish(warehouse, "r1", 4)
    make_state(warehouse)
    rows = [score_row(number, "r2", NEXT) for number in (3, 4)]
    publish(warehouse, "r2", 0, NEXT, files=[write_rows(warehouse, "r2", rows)])
    newest = "select document_id, run_id from latest order by 1"
    expected = [("d0", "r1"), ("d1", "r1"), ("d2", "r1"), ("d3", "r2"), ("d4", "r2")]
    assert sql(warehouse, newest) == expected
    assert sql(warehouse, 'select distinct "table" from history') == [("scores",)]
    assert sql(warehouse, "select count(*) from scores s join latest l using (document_id)") == [(6,)]
    first = sql(warehouse, "select min(snapshot_id) filter (run_id = 'r1') from history")[0][0]
    assert sql(warehouse, "select count(*) from latest", snapshot=first) == [(4,)]
