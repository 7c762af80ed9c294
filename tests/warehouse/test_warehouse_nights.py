"""The nights of a table, queries with bound values, and copies of a night."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from warehouse_helpers import DAY, publish, score_row, write_rows

from tlnlp.errors import NotFoundError, StorageError, UsageError
from tlnlp.warehouse.night_copy import open_copy, read_row, write_copy
from tlnlp.warehouse.nights import ScoresTable, read_scores
from tlnlp.warehouse.query_worker import Limits
from tlnlp.warehouse.schema import SCORES, Column

NEXT = DAY + timedelta(days=1)
LIMITS = Limits(60, 400_000_000)


def table(warehouse: Path, known: ScoresTable | None = None) -> ScoresTable:
    return read_scores(str(warehouse), None, "scores", known)


def rows(scores: ScoresTable, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
    with scores.open_query(sql, parameters, LIMITS) as stream:
        return stream.all_rows().rows


def copied(file: Path, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
    with open_copy(file, sql, parameters, LIMITS) as stream:
        return stream.all_rows().rows


def test_nights_are_listed_newest_first_with_what_their_runs_counted(warehouse: Path) -> None:
    publish(warehouse, "r1", 4)
    publish(warehouse, "r2", 6, day=NEXT, summary={"mode": "incremental", "model_version": "7", "rows_in": "9"})
    scores = table(warehouse)
    newest, first = scores.nights
    assert (newest.day, newest.rows, newest.run_id, newest.model_version) == (NEXT, 6, "r2", 7)
    assert (newest.mode, newest.counts) == ("incremental", {"rows_in": 9})
    assert (first.day, first.rows) == (DAY, 4)
    assert (scores.source, scores.model) == ("file:///documents", "reviews")
    assert (scores.night(), scores.night(DAY), scores.night(date(2020, 1, 1))) == (newest, first, None)
    assert (scores.before(newest), scores.before(first)) == (first, None)


def test_a_night_has_another_token_when_it_alone_is_published_again(warehouse: Path) -> None:
    publish(warehouse, "r1", 4)
    publish(warehouse, "r2", 4, day=NEXT)
    before = table(warehouse)
    assert table(warehouse, before) is before
    publish(warehouse, "r3", 4, day=NEXT)
    after = table(warehouse, before)
    assert after.nights[0].token != before.nights[0].token
    assert after.nights[1].token == before.nights[1].token


def test_a_night_without_rows_is_a_night(warehouse: Path) -> None:
    publish(warehouse, "r1", 4)
    publish(warehouse, "r2", 0, day=NEXT, files=())
    assert [(night.day, night.rows) for night in table(warehouse).nights] == [(NEXT, 0), (DAY, 4)]


def test_a_table_keeps_the_rows_of_its_moment(warehouse: Path) -> None:
    publish(warehouse, "r1", 4)
    scores = table(warehouse)
    publish(warehouse, "r2", 9)
    assert rows(scores, "select count(*) from scores") == [(4,)]


def test_values_are_bound_and_never_read_as_sql(warehouse: Path) -> None:
    publish(warehouse, "r1", 10)
    scores = table(warehouse)
    assert rows(scores, "select document_id from scores where document_id = ? and score_date = ?", "d3", DAY) == [
        ("d3",)
    ]
    assert rows(scores, "select count(*) from scores where label = ?", "' or '1'='1") == [(0,)]
    assert rows(scores, "select ?", "select 1; drop table scores") == [("select 1; drop table scores",)]
    with pytest.raises(UsageError):
        rows(scores, "select count(*) from scores where label = ?")


def test_a_missing_warehouse_or_table_is_said_with_what_there_is(warehouse: Path) -> None:
    with pytest.raises(NotFoundError, match="no such folder"):
        table(warehouse)
    publish(warehouse, "r1", 1)
    with pytest.raises(NotFoundError, match=r"no table other \(it has scores\)"):
        read_scores(str(warehouse), None, "other")


def test_a_copy_holds_the_rows_of_its_night_alone(warehouse: Path, tmp_path: Path) -> None:
    publish(warehouse, "r1", 4)
    publish(warehouse, "r2", 7, day=NEXT)
    scores, file = table(warehouse), tmp_path / "it's a copy.duckdb"
    write_copy(scores, scores.nights[0], file, LIMITS)
    assert not list(tmp_path.glob("*.part*"))
    wanted = "select document_id, score, label, stage, model_version from {} order by 1"
    assert copied(file, wanted.format("night")) == rows(scores, wanted.format(f"scores where score_date = '{NEXT}'"))


def test_the_place_of_a_row_in_a_copy_is_its_place_in_the_table(warehouse: Path, tmp_path: Path) -> None:
    made = [score_row(number, "r1", document_id=f"d{number * 7 % 1000:03}") for number in range(1000)]
    files = tuple(write_rows(warehouse, "r1", made[at : at + 300], row_group_size=70) for at in range(0, 1000, 300))
    publish(warehouse, "r0", 5, day=NEXT)
    publish(warehouse, "r1", 0, files=files)
    scores, file = table(warehouse), tmp_path / "copy.duckdb"
    write_copy(scores, scores.nights[1], file, LIMITS)
    for document_id, place in copied(file, "select document_id, rowid from night")[::37]:
        found = read_row(scores, scores.nights[1], place)
        assert found["document_id"] == document_id
        assert [tuple(found.values())] == rows(
            scores, "select * from scores where document_id = ? limit 1", document_id
        )
    assert read_row(scores, scores.nights[1], 1000) == {}


def test_long_kept_texts_are_cut_in_a_copy(warehouse: Path, tmp_path: Path) -> None:
    kept = (Column('a b"c', "string"), Column("n", "long"))
    made = [score_row(number, "r1") | {'a b"c': "é" * 600, "n": 2**40} for number in range(3)]
    publish(warehouse, "r1", 0, files=(write_rows(warehouse, "r1", made, [*SCORES, *kept]),), kept=kept)
    scores, file = table(warehouse), tmp_path / "copy.duckdb"
    write_copy(scores, scores.nights[0], file, LIMITS)
    assert copied(file, 'select distinct length("a b""c"), n from night') == [(500, 2**40)]
    assert [column.name for column in scores.kept] == ['a b"c', "n"]


@pytest.mark.parametrize(
    "sql",
    [
        "delete from night",
        "create table other (a int)",
        "copy night to 'out.csv'",
        "select * from read_text('/etc/passwd')",
        "attach 'other.duckdb'",
        "set memory_limit = '1GB'",
        "select 1; select 2",
    ],
)
def test_a_copy_can_only_be_read(warehouse: Path, tmp_path: Path, sql: str) -> None:
    publish(warehouse, "r1", 4)
    scores, file = table(warehouse), tmp_path / "copy.duckdb"
    write_copy(scores, scores.nights[0], file, LIMITS)
    with pytest.raises(UsageError):
        copied(file, sql)
    assert copied(file, "select count(*) from night") == [(4,)]


def test_a_copy_that_is_gone_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        copied(tmp_path / "none.duckdb", "select 1 from night")
