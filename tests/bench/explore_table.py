"""Make a table of many scored documents, as nights publish them, without scoring anything."""

from __future__ import annotations

import hashlib
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tlnlp.warehouse.catalog import open_catalog
from tlnlp.warehouse.night import publish_night
from tlnlp.warehouse.publish import Publication
from tlnlp.warehouse.schema import QUARANTINE, SCORES, Column, arrow_schema, quarantine_name

LABELS = ("billing", "delivery", "praise", "returns")
STAGES = ("ngram", "encoder")
FILE_ROWS = 100_000  # As `tlnlp score` writes them.
STORES, PRODUCTS = 400, 5_000
FIRST_DAY = date(2026, 11, 1)
KEPT = (Column("store", "string"), Column("product", "string"), Column("amount", "double"))


def make_table(warehouse: Path, rows: int, nights: int = 2) -> None:
    """Publish ``nights`` nights of ``rows`` rows each in the table ``scores``; a twentieth of the labels changes."""
    catalog = open_catalog(str(warehouse))
    for number in range(nights):
        day, run_id = FIRST_DAY + timedelta(days=number), f"20261101T0{number:05}-00000{number}"
        folder = warehouse / "runs" / run_id / "scores-0000" / "0"
        folder.mkdir(parents=True)
        files = []
        for first in range(0, rows, FILE_ROWS):
            path = folder / f"part-{first:09}.parquet"
            pq.write_table(scored(first, min(FILE_ROWS, rows - first), number, day, run_id), path)
            files.append(f"file://{path}")
        aside = warehouse / "runs" / run_id / "quarantine" / "0" / "part-0.parquet"
        aside.parent.mkdir(parents=True)
        pq.write_table(_rejected(day, run_id, rows // 1000), aside)
        summary = {"mode": "full", "model_version": str(1 + number // 3), "rows_in": str(rows + rows // 1000)}
        summary |= {"rows_scored": str(rows), "rows_reused": "0", "rows_duplicate": "0"}
        summary |= {"rows_quarantined": str(rows // 1000)}
        owner: dict[str, Any] = {"source": "made", "model": "tickets", "run_id": run_id, "summary": summary}
        night = Publication("scores", day, tuple(files), kept=KEPT, **owner)
        rejected = Publication(quarantine_name("scores"), day, (f"file://{aside}",), columns=QUARANTINE, **owner)
        publish_night(catalog, night, rejected)


def document_id(number: int) -> str:
    """Return the id of a document; ids are in no order, as in most tables, so no file can be left out by its range."""
    return f"ticket-{number * 2_654_435_761 % 2**32:010d}"


def scored(first: int, count: int, night: int, day: date, run_id: str) -> pa.Table:
    """Return rows ``first`` and following of a night."""
    drawn = np.random.default_rng(first)  # The same in each night.
    changed = np.random.default_rng((first, night)).random(count) < 0.05 * (night > 0)
    numbers = np.arange(first, first + count)
    label = np.where(changed, numbers % 3, drawn.choice(4, count, p=(0.4, 0.3, 0.2, 0.1)))
    score = 0.25 + 0.75 * drawn.beta(6, 1.5, count)
    others = ((1 - score) / 3)[:, None].repeat(4, axis=1)
    others[np.arange(count), label] = score
    maps = pa.MapArray.from_arrays(
        pa.array(np.arange(count + 1) * 4, pa.int32()), pa.array(LABELS * count), pa.array(others.ravel())
    )
    at = datetime.combine(day, datetime.min.time(), UTC)
    columns: dict[str, Any] = {
        "document_id": list(map(document_id, range(first, first + count))),
        "label": np.take(LABELS, label),
        "score": score,
        "probabilities": maps,
        "text_sha256": [hashlib.sha256(str(number).encode()).hexdigest() for number in range(first, first + count)],
        "stage": np.take(STAGES, (score < 0.8).astype(int)),
        "scored_by": pa.repeat("ctranslate2-int8+safe@0123456789abcdef", count),
        "model": pa.repeat("tickets", count),
        "model_version": pa.repeat(pa.scalar(1 + night // 3, pa.int64()), count),
        "run_id": pa.repeat(run_id, count),
        "score_date": pa.repeat(pa.scalar(day, pa.date32()), count),
        "scored_at": pa.repeat(pa.scalar(at, pa.timestamp("us", "UTC")), count),
        "store": [f"store {number}" for number in drawn.integers(0, STORES, count)],
        "product": [f"product {number}" for number in drawn.integers(0, PRODUCTS, count)],
        "amount": drawn.gamma(2, 20, count),
    }
    schema = pa.schema([field.with_nullable(True) for field in arrow_schema([*SCORES, *KEPT])])
    return pa.table(columns).select(schema.names).cast(schema)


def _rejected(day: date, run_id: str, count: int) -> pa.Table:
    reasons = ("null_text", "empty_text", "conflicting_id")
    rows = [
        {"document_id": f"bad-{number}", "reason": reasons[number % 3], "detail": None, "source": "made"}
        for number in range(count)
    ]
    schema = pa.schema([field.with_nullable(True) for field in arrow_schema(QUARANTINE)])
    return pa.Table.from_pylist([row | {"run_id": run_id, "score_date": day} for row in rows], schema=schema)
