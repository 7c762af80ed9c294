"""Stage Parquet files as scoring does, publish them, and query the result."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.catalog import Catalog

from tlnlp.warehouse.catalog import open_catalog
from tlnlp.warehouse.publish import Publication, PublishResult, publish_day
from tlnlp.warehouse.query import run_query
from tlnlp.warehouse.schema import SCORES, Column, arrow_schema
from tlnlp.warehouse.tables import load_table

DAY = date(2026, 11, 23)
LABELS = ("negative", "positive")
AT = datetime(2026, 11, 23, 23, 0, tzinfo=UTC)


def score_row(number: int, run_id: str, day: date = DAY, **changes: Any) -> dict[str, Any]:
    positive = (number % 10) / 10
    label = "positive" if positive >= 0.5 else "negative"
    row: dict[str, Any] = {
        "document_id": f"d{number}",
        "label": label,
        "score": max(positive, 1 - positive),
        "probabilities": [("negative", 1 - positive), ("positive", positive)],
        "text_sha256": f"{number:064x}",
        "stage": "encoder",
        "scored_by": "onnx-fp32@0123456789abcdef",
        "model": "reviews",
        "model_version": 1,
        "run_id": run_id,
        "score_date": day,
        "scored_at": AT,
    }
    return row | changes


def write_rows(
    warehouse: Path,
    run_id: str,
    rows: Sequence[dict[str, Any]],
    columns: Sequence[Column] = SCORES,
    chunk: str = "chunk-0",
    schema: pa.Schema | None = None,
    **options: Any,
) -> str:
    """Stage rows as one file with nullable columns, as Spark does, and return its URI."""
    folder = warehouse / "runs" / run_id / chunk / "0"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"part-{len(list(folder.iterdir()))}.parquet"
    plain = schema or pa.schema([field.with_nullable(True) for field in arrow_schema(columns)])
    pq.write_table(pa.Table.from_pylist(list(rows), schema=plain), path, **options)
    return f"file://{path}"


def publish(
    warehouse: Path,
    run_id: str,
    rows: int,
    day: date = DAY,
    catalog: Catalog | None = None,
    expected: str | None = None,
    **options: Any,
) -> PublishResult:
    """Stage ``rows`` rows of a run in two files and publish them as the day."""
    half = rows // 2
    files = [
        write_rows(warehouse, run_id, [score_row(number, run_id, day) for number in numbers])
        for numbers in (range(half), range(half, rows))
        if len(numbers)
    ]
    given: dict[str, Any] = {
        "files": tuple(files),
        "source": "file:///documents",
        "model": "reviews",
        "summary": {"model_version": "1", "rows_in": str(rows), "rows_scored": str(rows)},
    }
    opened = catalog or open_catalog(str(warehouse))
    publication = Publication("scores", day, run_id=run_id, **given | options)
    return publish_day(opened, publication, expected)


def sql(warehouse: Path, query: str, **options: Any) -> list[tuple[Any, ...]]:
    return run_query(str(warehouse), query, **options).rows


def live_rows(warehouse: Path) -> int:
    return int(sql(warehouse, "select count(*) from scores")[0][0])


def snapshots(warehouse: Path, table: str = "scores") -> list[Any]:
    loaded = load_table(open_catalog(str(warehouse)), table)
    return loaded.snapshots() if loaded else []
