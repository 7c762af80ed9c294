"""A table with many days: a night merges them once, and later nights read the newest row of each document alone."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from history_kit import add_days
from score_kit import counts, documents, night, rows, write_parquet

from tlnlp.config import ScoreSettings
from tlnlp.score.plan import plan
from tlnlp.score.table_history import FEW_DAYS, MOST_DAYS
from tlnlp.warehouse.catalog import open_catalog
from tlnlp.warehouse.state_table import State, read_state
from tlnlp.warehouse.tables import load_table

pytestmark = pytest.mark.usefixtures("spark")

FIRST, SHARED = "2026-01-01", {"source": "the-shop"}


def state_of(warehouse: Path) -> State | None:
    catalog = open_catalog(str(warehouse))
    scores = load_table(catalog, "scores")
    assert scores is not None
    return read_state(catalog, scores)


def test_days_that_repeat_the_documents_are_merged_after_a_few(registry: Path, warehouse: Path, tmp_path: Path) -> None:
    twelve, ten = documents(12), documents(10)
    night(write_parquet(tmp_path / "12.parquet", twelve), warehouse, registry, score_date=FIRST, **SHARED)
    add_days(warehouse, date(2026, 1, 2), FEW_DAYS - 1, rows=10)
    given = write_parquet(tmp_path / "10.parquet", ten)
    assert counts(night(given, warehouse, registry, score_date="2026-01-08", **SHARED))["rows_reused"] == 10
    assert state_of(warehouse) is None
    settings = {"documents": str(given), "warehouse": str(warehouse), "registry": str(registry), "model": "reviews"}
    plan(ScoreSettings(**settings, score_date="2026-01-09", source="the-shop"))
    assert state_of(warehouse) is None  # A plan changes nothing.

    result = night(given, warehouse, registry, score_date="2026-01-09", mode="incremental", **SHARED)
    assert (counts(result)["rows_reused"], result.counts.rows_unchanged) == (10, 10)
    state = state_of(warehouse)
    assert state is not None
    # The files of the newest day are used as they are; the two documents that it does not have lie in a new one.
    assert (state.rows, state.through) == (12, date(2026, 1, 8))
    assert sum("/state/scores/" in file for file in state.files) == 1
    back = night(tmp_path / "12.parquet", warehouse, registry, score_date="2026-01-10", mode="incremental", **SHARED)
    assert back.counts.rows_unchanged == 12
    assert rows(warehouse, "select count(*) n from latest") == [{"n": 12}]


def test_small_days_are_merged_when_they_are_many(registry: Path, warehouse: Path, tmp_path: Path) -> None:
    given = write_parquet(tmp_path / "d.parquet", documents(90))
    night(given, warehouse, registry, score_date=FIRST, **SHARED)
    add_days(warehouse, date(2026, 1, 2), FEW_DAYS, rows=1)
    shared = SHARED | {"mode": "incremental"}
    assert night(given, warehouse, registry, score_date="2026-01-20", **shared).counts.rows_unchanged == 90
    state = state_of(warehouse)
    assert state is not None
    assert (state.rows, state.through) == (90, date(2026, 1, 5))
    # From now on, one row a day is a small part of the state.
    add_days(warehouse, date(2026, 2, 1), MOST_DAYS, "incremental", rows=1)
    assert night(given, warehouse, registry, score_date="2026-03-01", **shared).counts.rows_unchanged == 90
    assert state_of(warehouse) == state
    add_days(warehouse, date(2026, 3, 2), 1, "incremental", rows=1)
    assert night(given, warehouse, registry, score_date="2026-03-05", **shared).counts.rows_unchanged == 90
    caught_up = state_of(warehouse)
    assert caught_up is not None
    assert (caught_up.rows, caught_up.through) == (90, date(2026, 3, 2))
