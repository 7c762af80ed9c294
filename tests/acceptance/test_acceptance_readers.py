"""Engines that share no code with PyIceberg read the published table: Spark 4.1, ClickHouse and DuckDB 1.5.

Spark and DuckDB run the statements that ``tlnlp warehouse ddl`` prints, unchanged, and those of ``--refresh`` for a
later night. The table is on a local disk and on a real S3 server.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import s3_server

from tlnlp.config import DdlSettings
from tlnlp.storage import Storage, local_path
from tlnlp.warehouse.catalog import open_catalog
from tlnlp.warehouse.ddl import statements
from tlnlp.warehouse.publish import Publication, publish_day
from tlnlp.warehouse.published import published, published_pair
from tlnlp.warehouse.schema import QUARANTINE, SCORES, Column, arrow_schema
from tlnlp.warehouse.sql_dialects import Dialect

pytestmark = pytest.mark.acceptance
READERS = Path(__file__).parents[2] / ".cache" / "readers"
PROGRAM = Path(__file__).with_name("foreign_readers.py")
DAYS = (date(2026, 1, 30), date(2026, 1, 31), date(2026, 2, 1))
FIRST = (Column("item", "string"), Column("order", "long"))
KEPT_COLUMNS = (*FIRST, Column("Stars", "int"), Column("bought at", "timestamp"), Column("sure", "boolean"))
LABELS = ("negative", "neutral", "très positif")
AT = datetime(2026, 1, 31, 23, 0, 0, 123456, tzinfo=UTC)

Row = dict[str, Any]


def score_row(number: int, run_id: str, day: date, kept: Sequence[Column]) -> Row:
    """Return a row of the table of scores, with a value for each of the kept columns."""
    shares = [number % 7 + 1, number % 5 + 1, number % 3 + 1]
    probabilities = {label: share / sum(shares) for label, share in zip(LABELS, shares, strict=True)}
    label = max(probabilities, key=lambda one: probabilities[one])
    extra = {"item": f"čaj {number}", "order": number << 40, "Stars": number % 6 or None, "bought at": AT}
    row = {
        "document_id": f"d{number}",
        "label": label,
        "score": probabilities[label],
        "probabilities": probabilities,
        "text_sha256": f"{number:064x}",
        "stage": "encoder",
        "scored_by": "onnx-fp32@0123456789abcdef" if number % 2 else None,
        "model": "reviews",
        "model_version": 3,
        "run_id": run_id,
        "score_date": day,
        "scored_at": AT,
    }
    return row | {column.name: (extra | {"sure": number % 2 == 0})[column.name] for column in kept}


@dataclass
class Table:
    """A warehouse, and the rows of its table by day."""

    warehouse: str
    folder: Path
    rows: dict[date, list[Row]]

    def night(self, run_id: str, day: date, count: int, kept: Sequence[Column]) -> None:
        """Publish so many rows as a day."""
        catalog = open_catalog(self.warehouse)
        rows = [score_row(number, run_id, day, kept) for number in range(count)]
        rejected = [{"document_id": "bad", "reason": "empty_text", "run_id": run_id, "score_date": day}]
        owner: dict[str, Any] = {"source": "s3://x/y", "model": "reviews", "run_id": run_id, "summary": {}}
        aside = (self._stage(run_id, "aside", rejected, QUARANTINE),)
        publish_day(catalog, Publication("quarantine", day, aside, columns=QUARANTINE, **owner))
        columns = (*SCORES, *kept)
        files = tuple(self._stage(run_id, f"scores-{part}", rows[part::2], columns) for part in range(2))
        publish_day(catalog, Publication("scores", day, files, kept=tuple(kept), **owner))
        self.rows[day] = rows

    def _stage(self, run_id: str, name: str, rows: Sequence[Row], columns: Sequence[Column]) -> str:
        path = self.folder / f"{run_id}-{name}.parquet"
        pq.write_table(pa.Table.from_pylist(list(rows), schema=arrow_schema(columns)), path)
        storage = Storage(self.warehouse)
        storage.write(f"runs/{run_id}/{name}/0/part-0.parquet", path)
        return storage.url(f"runs/{run_id}/{name}/0/part-0.parquet")

    def expected(self) -> list[Row]:
        """Return every row of the table, as the readers print them."""
        every = [{column.name: None for column in KEPT_COLUMNS} | row for rows in self.rows.values() for row in rows]
        return ordered([{name: _plain(value) for name, value in row.items()} for row in every])

    def ddl(self, dialect: Dialect, refresh: bool = False) -> list[str]:
        """Return the statements that ``tlnlp warehouse ddl`` prints."""
        tables = published_pair(open_catalog(self.warehouse), "scores")
        return [one.sql for one in statements(tables, dialect, DdlSettings(), refresh=refresh)]


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.replace(tzinfo=None).isoformat(timespec="microseconds")
    return value.isoformat() if isinstance(value, date) else value


def ordered(rows: Sequence[Row]) -> list[Row]:
    """Return the rows by day and document id."""
    return sorted(rows, key=lambda row: (row["score_date"], row["document_id"]))


@pytest.fixture(scope="module", params=["disk", "s3"])
def table(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Table:
    """A table of two nights, the second with more kept columns, after the first was published again."""
    folder = tmp_path_factory.mktemp("readers")
    if request.param == "s3":
        warehouse = f"{request.getfixturevalue('s3_bucket')}/readers/{uuid4().hex[:8]}"
    else:
        warehouse = f"file://{folder}/ware house"
    made = Table(warehouse, folder, {})
    made.night("r1", DAYS[0], 50, FIRST)
    made.night("r2", DAYS[1], 40, KEPT_COLUMNS)
    made.night("r3", DAYS[0], 30, KEPT_COLUMNS[:3])
    return made


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path


def read(reader: str, table: Table, state: Path, given: Sequence[str], *selects: str) -> list[list[Row]]:
    """Run statements in a reader, and return the rows of each select."""
    on_s3 = local_path(table.warehouse) is None
    jars = [*(READERS / "jars").glob("*.jar"), *(s3_server.JARS.glob("software.amazon.awssdk_*.jar") if on_s3 else [])]
    request = {
        "statements": list(given),
        "selects": selects,
        "state": str(state),
        "s3": os.environ["AWS_ENDPOINT_URL"] if on_s3 else None,
        "jars": ":".join(map(str, jars)),
    }
    python = str(READERS / "bin" / "python")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYSPARK_", "SPARK_"))}
    environment |= {"PYSPARK_PYTHON": python, "SPARK_LOCAL_IP": "127.0.0.1", "TZ": "UTC"}
    done = subprocess.run(
        [python, str(PROGRAM), reader],
        input=json.dumps(request),
        cwd=table.folder,  # ClickHouse reads local files below its own folder only.
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[:3000] + done.stderr[-1500:]
    found: list[list[Row]] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize(
    ("dialect", "full"), [("spark", "`example`.`tlnlp`"), ("duckdb", "main")], ids=["spark", "duckdb"]
)
def test_a_reader_gets_every_row_by_the_printed_statements(
    table: Table, state: Path, dialect: Dialect, full: str
) -> None:
    selects = [f"SELECT * FROM {full}.{name}" for name in ("scores", "quarantine")]
    found, _ = read(dialect, table, state, table.ddl(dialect), *selects)
    assert ordered(found) == table.expected()
    assert found[0].keys() == {column.name for column in (*SCORES, *KEPT_COLUMNS)}
    rows_before = dict(table.rows)
    try:
        table.night(f"r4-{dialect}", DAYS[2], 20, KEPT_COLUMNS)
        fresh, aside = read(dialect, table, state, table.ddl(dialect, refresh=True), *selects)
        assert ordered(fresh) == table.expected()
        assert len(fresh) == len(found) + 20
        assert {(row["document_id"], row["reason"], row["detail"]) for row in aside} == {("bad", "empty_text", None)}
        assert {row["score_date"] for row in aside} == {day.isoformat() for day in DAYS}
    finally:
        table.night(f"r5-{dialect}", DAYS[2], 0, KEPT_COLUMNS)
        table.rows = rows_before


def test_clickhouse_reads_every_row(table: Table, state: Path) -> None:
    now = published(open_catalog(table.warehouse), "scores")
    file = f"metadata/{now.metadata_location.rpartition('/')[2]}"
    folder, place = local_path(now.location), now.location.removeprefix("s3://")
    source = f"icebergLocal('{folder}', 'Parquet'"
    if folder is None:
        keys = f"'{os.environ['AWS_ACCESS_KEY_ID']}', '{os.environ['AWS_SECRET_ACCESS_KEY']}'"
        source = f"icebergS3('{os.environ['AWS_ENDPOINT_URL']}/{place}', {keys}, 'Parquet'"
    select = f"SELECT * FROM {source}, SETTINGS iceberg_metadata_file_path = '{file}')"
    (found,) = read("clickhouse", table, state, [], select)
    for row in found:
        for name in ("scored_at", "bought at"):
            row[name] = row[name] and row[name].replace(" ", "T")
        row["order"] = int(row["order"])
        row["model_version"] = int(row["model_version"])
    assert ordered(found) == table.expected()
