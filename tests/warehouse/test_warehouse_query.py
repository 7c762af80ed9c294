"""SQL over the tables: pushdown, bounded memory, isolation, history and older snapshots."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from warehouse_helpers import DAY, live_rows, publish, score_row, sql, write_rows

from tlnlp.errors import NotFoundError, StorageError, UsageError
from tlnlp.warehouse.query import open_query, run_query
from tlnlp.warehouse.query_values import json_value
from tlnlp.warehouse.schema import SCORES, Column

OTHER_DAY = DAY - timedelta(days=1)


def test_a_query_gives_columns_and_rows_ready_for_json(warehouse: Path) -> None:
    publish(warehouse, "r1", 10)
    result = run_query(str(warehouse), "select * from Scores where document_id = 'd7'")
    assert result.columns == tuple(column.name for column in SCORES)
    row = dict(zip(result.columns, result.rows[0], strict=True))
    assert row["probabilities"] == pytest.approx({"negative": 0.3, "positive": 0.7})
    assert (row["score_date"], row["scored_at"]) == ("2026-11-23", "2026-11-23T23:00:00+00:00")
    assert json.loads(json.dumps(row)) == row
    grouped = "select label, count(*), sum(model_version) from scores group by 1 order by 1"
    assert sql(warehouse, grouped) == [("negative", 5, 5), ("positive", 5, 5)]
    assert sql(warehouse, "select probabilities['positive'] from scores where document_id = 'd7'") == [(0.7,)]
    assert sql(warehouse, "select label from scores where label = 'none'") == []


def test_values_become_what_json_can_hold() -> None:
    given = [Decimal(3), Decimal("2.5"), float("nan"), float("inf"), float("-inf")]
    assert json_value({"a": given}) == {"a": [3, 2.5, "NaN", "Infinity", "-Infinity"]}
    assert json_value(datetime(2026, 1, 2, 3, tzinfo=UTC)) == "2026-01-02T03:00:00+00:00"
    assert json_value([date(2026, 1, 2), b"\xff", timedelta(hours=1), None, True]) == [
        "2026-01-02",
        "ff",
        "1:00:00",
        None,
        True,
    ]


def test_filters_and_columns_are_pushed_down_to_the_files(warehouse: Path) -> None:
    publish(warehouse, "r1", 10)
    plan = sql(warehouse, "explain select label from scores where score_date = '2026-11-23' and label = 'positive'")
    scan = plan[0][1][plan[0][1].index("Arrow Scan") :].lower()
    assert "\"score_date\" = date '2026-11-23'" in scan
    assert "\"label\" = 'positive'" in scan
    assert "probabilities" not in scan


def test_days_that_a_filter_excludes_are_not_opened(warehouse: Path) -> None:
    publish(warehouse, "r1", 10)
    publish(warehouse, "r2", 4, OTHER_DAY)
    for file in (warehouse / "runs" / "r2").rglob("*.parquet"):
        file.unlink()
    assert sql(warehouse, "select count(*) from scores where score_date = '2026-11-23'") == [(10,)]
    assert sql(warehouse, "select count(label) from scores where score_date > '2026-11-22'") == [(10,)]
    with pytest.raises(StorageError, match="cannot be read"):
        sql(warehouse, "select count(label) from scores")


def test_a_result_can_be_read_in_batches(warehouse: Path) -> None:
    publish(warehouse, "r1", 25_000)
    with open_query(str(warehouse), "select document_id, score from scores") as stream:
        assert stream.columns == ("document_id", "score")
        sizes = [batch.num_rows for batch in stream.batches]
    assert sum(sizes) == 25_000
    assert len(sizes) > 1


def test_memory_does_not_grow_with_the_table(warehouse: Path) -> None:
    columns = [*SCORES, Column("filler", "string")]
    rows = [score_row(number, "r1", filler=f"{number:064x}" * 8) for number in range(20_000)]
    file = write_rows(warehouse, "r1", rows, columns, row_group_size=2_000)
    path = Path(file.removeprefix("file://"))
    files = []
    for copy in range(12):
        target = path.with_name(f"copy-{copy}.parquet")
        target.hardlink_to(path)
        files.append(f"file://{target}")
    publish(warehouse, "r1", 0, files=files[:1], kept=columns[-1:])
    # The consumer is slow on purpose, because reading ahead of it must be bounded too.
    code = """if True:
        import resource, sys, time
        from tlnlp.warehouse.query import open_query
        with open_query(sys.argv[1], "select * from scores") as stream:
            rows = 0
            for batch in stream.batches:
                rows += batch.num_rows
                time.sleep(0.005)
        print(rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"""

    def measure() -> tuple[int, int]:
        done = subprocess.run([sys.executable, "-c", code, str(warehouse)], capture_output=True, check=True)
        rows, peak = done.stdout.split()
        return int(rows), int(peak)

    small = measure()
    publish(warehouse, "r2", 0, files=files, kept=columns[-1:])
    large = measure()
    assert (small[0], large[0]) == (20_000, 240_000)
    assert large[1] < small[1] + 64 * 1024  # KiB; the large table holds 150 MiB more


@pytest.mark.parametrize(
    "statement",
    [
        "copy scores to '{folder}/x.csv'",
        "create table x as select 1",
        "set threads = 1",
        "attach '{folder}/x.db'",
        "install httpfs",
        "select 1; select 2",
        "",
        "select * from read_text('{folder}/secret')",
        "select * from '{folder}/secret.parquet'",
        "select * from glob('{folder}/*')",
    ],
)
def test_a_query_reads_the_tables_and_nothing_else(warehouse: Path, tmp_path: Path, statement: str) -> None:
    publish(warehouse, "r1", 3)
    (tmp_path / "secret").write_text("secret")
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(UsageError) as raised:
        sql(warehouse, statement.format(folder=tmp_path))
    assert "secret\n" not in str(raised.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_variables_of_the_program_are_no_tables(warehouse: Path) -> None:
    publish(warehouse, "r1", 3)
    with pytest.raises(UsageError):
        sql(warehouse, "select * from mentioned")


def test_a_mistake_is_reported_with_what_exists(warehouse: Path, tmp_path: Path) -> None:
    publish(warehouse, "r1", 3)
    with pytest.raises(UsageError, match=r"(?s)score_s.*the tables here are scores, latest, history"):
        sql(warehouse, "select * from score_s")
    with pytest.raises(UsageError) as caught:
        sql(warehouse, "select * from nope")
    assert "Did you mean" not in str(caught.value)
    with pytest.raises(UsageError, match="labell"):
        sql(warehouse, "select labell from scores")
    with pytest.raises(UsageError, match="syntax error"):
        sql(warehouse, "selec 1")
    with pytest.raises(UsageError, match=r"(?i)convert") as caught:
        sql(warehouse, "select cast(label as int) from scores")
    assert "string '...' to INT32" in str(caught.value)
    with pytest.raises(NotFoundError, match="no such folder"):
        sql(tmp_path / "absent", "select 1")
    assert not (tmp_path / "absent").exists()
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotFoundError, match="nothing has been published"):
        sql(tmp_path / "empty", "select 1")


def test_history_lists_every_publish_and_which_is_live(warehouse: Path) -> None:
    publish(warehouse, "r1", 10)
    publish(warehouse, "r2", 4, OTHER_DAY)
    counts = {"model_version": "2", "rows_in": "9", "rows_scored": "5", "rows_reused": "2", "rows_duplicate": "1"}
    last = publish(warehouse, "r3", 7, summary=counts | {"rows_quarantined": "1"})
    found = run_query(str(warehouse), "select * from history order by committed_at")
    rows = [dict(zip(found.columns, row, strict=True)) for row in found.rows]
    assert [(row["run_id"], row["score_date"], row["current"]) for row in rows] == [
        ("r1", "2026-11-23", False),
        ("r2", "2026-11-22", True),
        ("r3", "2026-11-23", True),
    ]
    assert rows[2].pop("committed_at") > rows[0]["committed_at"]
    assert rows[2] == {
        "table": "scores",
        "snapshot_id": last.snapshot_id,
        "operation": "overwrite",
        "score_date": "2026-11-23",
        "run_id": "r3",
        "model": "reviews",
        "model_version": 2,
        "rows_in": 9,
        "rows_scored": 5,
        "rows_reused": 2,
        "rows_duplicate": 1,
        "rows_quarantined": 1,
        "current": True,
    }
    assert rows[0]["rows_reused"] is None


def test_older_states_are_read_by_snapshot_and_by_time(warehouse: Path) -> None:
    first = publish(warehouse, "r1", 10)
    time.sleep(0.01)
    between = datetime.now(UTC)
    time.sleep(0.01)
    publish(warehouse, "r2", 4)
    query = "select count(*) from scores"
    assert sql(warehouse, query, snapshot=first.snapshot_id) == [(10,)]
    assert sql(warehouse, query, as_of=between.isoformat()) == [(10,)]
    assert sql(warehouse, query, as_of=between.replace(tzinfo=None).isoformat()) == [(10,)]
    assert sql(warehouse, query, as_of=datetime.now(UTC).date().isoformat()) == [(4,)]
    assert live_rows(warehouse) == 4
    with pytest.raises(UsageError, match="no table has a snapshot 12"):
        sql(warehouse, query, snapshot=12)
    with pytest.raises(UsageError, match="table scores had no snapshot at 2020-01-01T23:59:59"):
        sql(warehouse, query, as_of="2020-01-01")
    with pytest.raises(UsageError, match="'yesterday' is not a day or an ISO time"):
        sql(warehouse, query, as_of="yesterday")
    with pytest.raises(UsageError, match="one of the two"):
        sql(warehouse, query, as_of="2026-11-23", snapshot=first.snapshot_id)


def test_a_kept_column_of_each_type_comes_back(warehouse: Path) -> None:
    values: dict[str, Any] = {
        "string": "a",
        "int": 1,
        "long": 2**40,
        "float": 0.5,
        "double": 0.25,
        "boolean": True,
        "date": date(2026, 1, 2),
        "timestamp": datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC),
    }
    kept = [Column(f"k_{kind}", kind) for kind in values]
    row = score_row(1, "r1") | {f"k_{kind}": value for kind, value in values.items()}
    publish(warehouse, "r1", 0, files=[write_rows(warehouse, "r1", [row], [*SCORES, *kept])], kept=kept)
    names = ", ".join(column.name for column in kept)
    assert sql(warehouse, f"select {names} from scores") == [
        ("a", 1, 2**40, 0.5, 0.25, True, "2026-01-02", "2026-01-02T03:04:05.000006+00:00")
    ]


def test_an_old_snapshot_shows_the_columns_of_its_time(warehouse: Path) -> None:
    first = publish(warehouse, "r1", 2)
    publish(warehouse, "r2", 0, kept=[Column("item", "string")])
    describe = "select column_name from (describe scores)"
    assert ("item",) in sql(warehouse, describe)
    assert ("item",) not in sql(warehouse, describe, snapshot=first.snapshot_id)
    assert sql(warehouse, "select item from scores") == []


def test_what_spills_lies_in_a_folder_that_is_removed(
    warehouse: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(warehouse, "r1", 100)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    query = "select current_setting('temp_directory') from scores limit 1"
    with open_query(str(warehouse), query) as stream:
        folder = Path(next(stream.batches).column(0)[0].as_py())
        assert folder.parent == tmp_path / "temporary"
        assert folder.is_dir()
    assert not folder.exists()
