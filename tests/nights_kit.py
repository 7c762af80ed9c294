"""Publish nights of made-up rows by the code that publishes real ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tlnlp.warehouse.catalog import open_catalog
from tlnlp.warehouse.night import publish_night
from tlnlp.warehouse.publish import Publication
from tlnlp.warehouse.schema import QUARANTINE, SCORES, Column, arrow_schema, quarantine_name

KEPT = (Column("shop", "string"), Column("weight", "double"))
Row = Mapping[str, Any]


def publish(
    warehouse: Path,
    day: date,
    rows: Sequence[Row],
    rejected: Sequence[str] = ("null_text",),
    table: str = "scores",
    kept: Sequence[Column] = KEPT,
    source: str = "file:///documents",
    run_id: str | None = None,
) -> str:
    """Publish rows as a night, with a row of quarantine for each reason; return the id of the run."""
    run_id = run_id or f"{day:%Y%m%d}T230000-{table}"
    own = {"run_id": run_id, "score_date": day}
    aside = [
        {"document_id": f"bad{number}", "reason": reason, "detail": None, "source": None}
        for number, reason in enumerate(rejected)
    ]
    scores = _written(warehouse, run_id, "scores-0000", [*SCORES, *kept], [one | own for one in map(dict, rows)])
    other = _written(warehouse, run_id, "quarantine", QUARANTINE, [one | own for one in aside])
    counts = {"rows_in": len(rows) + len(aside), "rows_scored": len(rows), "rows_quarantined": len(aside)}
    summary = {"mode": "full", "model_version": "1"} | {name: str(count) for name, count in counts.items()}
    owner: dict[str, Any] = {"source": source, "model": "moods", "run_id": run_id, "summary": summary}
    night = Publication(table, day, scores, kept=tuple(kept), **owner)
    beside = Publication(quarantine_name(table), day, other, columns=QUARANTINE, **owner)
    publish_night(open_catalog(str(warehouse)), night, beside)
    return run_id


def _written(
    warehouse: Path, run_id: str, piece: str, columns: Sequence[Column], rows: Sequence[Row]
) -> tuple[str, ...]:
    if not rows:
        return ()
    folder = warehouse / "runs" / run_id / piece / "0"
    folder.mkdir(parents=True)
    schema = pa.schema([field.with_nullable(True) for field in arrow_schema(columns)])
    pq.write_table(pa.Table.from_pylist([dict(one) for one in rows], schema=schema), folder / "part-0.parquet")
    return (f"file://{folder}/part-0.parquet",)
