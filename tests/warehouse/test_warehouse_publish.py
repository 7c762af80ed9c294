"""Publishing a day: replacement, ownership, kept columns, refused files and the day token."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from warehouse_helpers import DAY, live_rows, publish, score_row, snapshots, sql, write_rows

from tlnlp.errors import EngineError, PublishConflictError, StorageError, UsageError
from tlnlp.warehouse.catalog import open_catalog
from tlnlp.warehouse.publish import Publication, publish_day
from tlnlp.warehouse.schema import QUARANTINE, SCORES, Column
from tlnlp.warehouse.table_definition import check_publish
from tlnlp.warehouse.tables import day_token, load_table, summary_of

OTHER_DAY = DAY - timedelta(days=1)


def test_the_first_publish_makes_the_table_and_the_second_replaces_the_day(warehouse: Path) -> None:
    first = publish(warehouse, "r1", 10)
    assert (first.rows, first.replaced_rows) == (10, 0)
    publish(warehouse, "r2", 4, OTHER_DAY)
    second = publish(warehouse, "r3", 6)
    assert (second.rows, second.replaced_rows) == (6, 10)
    found = sql(warehouse, "select score_date, run_id, count(*) from scores group by all order by 1")
    assert found == [(OTHER_DAY.isoformat(), "r2", 4), (DAY.isoformat(), "r3", 6)]
    made = snapshots(warehouse)
    assert [snapshot.snapshot_id for snapshot in made][-1] == second.snapshot_id
    assert [snapshot.summary.operation.value for snapshot in made] == ["append", "overwrite", "overwrite"]


def test_the_table_is_partitioned_by_day_and_maps_names(warehouse: Path) -> None:
    publish(warehouse, "r1", 2)
    table = load_table(open_catalog(str(warehouse)), "scores")
    assert table is not None
    assert [(field.name, str(field.transform)) for field in table.spec().fields] == [("score_date", "identity")]
    assert table.name_mapping() is not None
    assert table.properties["tlnlp.source"] == "file:///documents"
    required = [field.name for field in table.schema().fields if field.required]
    assert required == [column.name for column in SCORES if column.required]


def test_the_summary_of_the_snapshot_describes_the_run(warehouse: Path) -> None:
    publish(warehouse, "r1", 10)
    summary = summary_of(snapshots(warehouse)[0])
    ours = {key: value for key, value in summary.items() if key.startswith("tlnlp.")}
    assert ours == {
        "tlnlp.run-id": "r1",
        "tlnlp.model": "reviews",
        "tlnlp.score-date": "2026-11-23",
        "tlnlp.model-version": "1",
        "tlnlp.rows-in": "10",
        "tlnlp.rows-scored": "10",
    }


@pytest.mark.parametrize("rows_before", [None, 5])
def test_an_empty_day_leaves_a_snapshot_too(warehouse: Path, rows_before: int | None) -> None:
    if rows_before is not None:
        publish(warehouse, "r1", rows_before)
    result = publish(warehouse, "r2", 0)
    assert (result.rows, result.replaced_rows) == (0, rows_before or 0)
    assert live_rows(warehouse) == 0
    assert summary_of(snapshots(warehouse)[-1])["tlnlp.run-id"] == "r2"


def test_a_file_without_rows_is_left_out(warehouse: Path) -> None:
    files = [write_rows(warehouse, "r1", []), write_rows(warehouse, "r1", [score_row(1, "r1")])]
    assert publish(warehouse, "r1", 0, files=files).rows == 1


def test_publishing_a_run_again_changes_nothing(warehouse: Path) -> None:
    first = publish(warehouse, "r1", 10)
    assert publish(warehouse, "r1", 10) == first
    assert len(snapshots(warehouse)) == 1
    with pytest.raises(PublishConflictError, match="run r1 published 2026-11-23 already"):
        publish(warehouse, "r1", 10, OTHER_DAY)


@pytest.mark.parametrize(("what", "value"), [("model", "topics"), ("source", "s3://other/documents")])
def test_a_table_belongs_to_one_source_and_one_model(warehouse: Path, what: str, value: str) -> None:
    publish(warehouse, "r1", 10)
    with pytest.raises(PublishConflictError, match=f"belongs to {what} .*{value}.*--set table=NAME"):
        publish(warehouse, "r2", 5, DAY, None, **{what: value})
    owner: dict[str, Any] = {"source": "file:///documents", "model": "reviews"}
    with pytest.raises(PublishConflictError, match=f"belongs to {what}"):
        check_publish(open_catalog(str(warehouse)), "scores", **owner | {what: value})
    check_publish(open_catalog(str(warehouse)), "scores", **owner)
    check_publish(open_catalog(str(warehouse)), "unheard_of", **owner | {what: value})
    assert live_rows(warehouse) == 10


def test_another_address_of_the_same_source_is_refused_with_the_key_that_mends_it(warehouse: Path) -> None:
    """Documents in a folder for each day: ``source`` gives the table one name for all of them."""
    publish(warehouse, "r1", 10, source="s3://bucket/day1/")
    catalog = open_catalog(str(warehouse))
    with pytest.raises(
        PublishConflictError, match=r"set the key `source` to 's3://bucket/day1/' for every night"
    ) as no:
        check_publish(catalog, "scores", source="s3://bucket/day2/", model="reviews")
    (named,) = re.findall(r"--set source='(\S+)'", str(no.value))
    check_publish(catalog, "scores", source=named, model="reviews")


def test_a_kept_column_is_added_and_null_where_files_lack_it(warehouse: Path) -> None:
    kept = [Column("item", "string"), Column("stars", "int")]
    publish(warehouse, "r1", 3, OTHER_DAY)
    rows = [score_row(number, "r2", item=f"i{number}", stars=number) for number in range(2)]
    publish(warehouse, "r2", 0, files=[write_rows(warehouse, "r2", rows, [*SCORES, *kept])], kept=kept)
    publish(warehouse, "r3", 1, OTHER_DAY + timedelta(days=-1))
    found = sql(warehouse, "select score_date, item, stars from scores order by 1, 2")
    assert found[-2:] == [("2026-11-23", "i0", 0), ("2026-11-23", "i1", 1)]
    assert [row[1:] for row in found[:-2]] == [(None, None)] * 4
    assert len(snapshots(warehouse)) == 3


@pytest.mark.parametrize("changed", [Column("stars", "string"), Column("Stars", "int")])
def test_a_kept_column_keeps_its_type_and_name(warehouse: Path, changed: Column) -> None:
    kept = [Column("stars", "int")]
    publish(warehouse, "r1", 0, kept=kept)
    with pytest.raises(UsageError, match=f"{changed.name} is {changed.type} .* stars as int"):
        publish(warehouse, "r2", 0, kept=[changed])
    with pytest.raises(UsageError, match="stars as int"):
        check_publish(
            open_catalog(str(warehouse)), "scores", source="file:///documents", model="reviews", kept=[changed]
        )


def test_a_table_of_an_earlier_version_gets_the_column_that_it_lacks(warehouse: Path) -> None:
    old = tuple(column for column in SCORES if column.name != "scored_by")
    before = [{name: value for name, value in score_row(n, "r1").items() if name != "scored_by"} for n in range(2)]
    files = (write_rows(warehouse, "r1", before, old),)
    owner: dict[str, Any] = {"source": "file:///documents", "model": "reviews", "run_id": "r1", "summary": {}}
    publish_day(open_catalog(str(warehouse)), Publication("scores", DAY, files, columns=old, **owner))
    publish(warehouse, "r2", 1, OTHER_DAY)
    found = sql(warehouse, "select run_id, scored_by from scores order by run_id, document_id")
    assert found == [("r1", None), ("r1", None), ("r2", "onnx-fp32@0123456789abcdef")]


def test_quarantine_goes_the_same_way_to_its_own_table(warehouse: Path) -> None:
    row = {"document_id": None, "reason": "empty_text", "detail": None, "source": None, "run_id": "r1"}
    files = [write_rows(warehouse, "r1", [row | {"score_date": DAY}], QUARANTINE)]
    catalog = open_catalog(str(warehouse))
    owner: dict[str, Any] = {"source": "file:///documents", "model": "reviews", "run_id": "r1", "summary": {}}
    publish(warehouse, "r1", 1)
    publish_day(catalog, Publication("quarantine", DAY, tuple(files), columns=QUARANTINE, **owner))
    assert sql(warehouse, "select document_id, reason, run_id from quarantine") == [(None, "empty_text", "r1")]
    with pytest.raises(UsageError, match="quarantine was not made by tlnlp: it lacks label"):
        publish_day(catalog, Publication("quarantine", DAY, (), **owner | {"run_id": "r2"}))


def test_files_that_do_not_fit_are_refused(warehouse: Path) -> None:
    publish(warehouse, "r0", 3)
    both = [score_row(1, "r1"), score_row(2, "r1", OTHER_DAY)]
    cases: list[tuple[list[dict[str, Any]], str]] = [
        (both, "several days"),
        ([score_row(1, "r1", OTHER_DAY)], "score_date is 2026-11-22 in the file, but the day to publish is 2026-11-23"),
        ([score_row(1, "r1", label=None)], "label is null in 1 row, but the column is required"),
    ]
    for rows, message in cases:
        with pytest.raises(EngineError, match=message):
            publish(warehouse, "r1", 0, files=[write_rows(warehouse, "r1", rows)])
    extra = write_rows(warehouse, "r1", [score_row(1, "r1", item="i")], [*SCORES, Column("item", "string")])
    with pytest.raises(EngineError, match="item"):
        publish(warehouse, "r1", 0, files=[extra])
    with pytest.raises(StorageError, match="gone"):
        publish(warehouse, "r1", 0, files=[f"file://{warehouse}/runs/r1/absent.parquet"])
    good = write_rows(warehouse, "r1", [score_row(1, "r1")])
    with pytest.raises(UsageError, match="listed twice"):
        publish(warehouse, "r1", 0, files=[good, good])
    cut = Path(good.removeprefix("file://"))
    cut.write_bytes(cut.read_bytes()[:-10])
    with pytest.raises(StorageError, match="not a complete Parquet file"):
        publish(warehouse, "r1", 0, files=[good])
    assert live_rows(warehouse) == 3
    assert len(snapshots(warehouse)) == 1


def test_the_day_token_changes_with_every_publish_of_the_day_alone(warehouse: Path) -> None:
    catalog = open_catalog(str(warehouse))
    never = day_token(catalog, "scores", DAY)
    publish(warehouse, "r1", 2, OTHER_DAY)
    assert day_token(catalog, "scores", DAY) == never
    publish(warehouse, "r2", 0)
    empty = day_token(catalog, "scores", DAY)
    publish(warehouse, "r3", 0)
    assert len({never, empty, day_token(catalog, "scores", DAY)}) == 3
    with pytest.raises(PublishConflictError, match="run r3 published 2026-11-23 while run r4"):
        publish(warehouse, "r4", 2, expected=empty)
    publish(warehouse, "r4", 2, expected=day_token(catalog, "scores", DAY))
    assert live_rows(warehouse) == 4
