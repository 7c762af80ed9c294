"""Give a table a long history in little time: publish days as nights do, without Spark, with rows of a night."""

from __future__ import annotations

from dataclasses import fields
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tlnlp.runs.ledger import new_run_id, utc_now
from tlnlp.score.result import Counts
from tlnlp.warehouse.catalog import open_catalog
from tlnlp.warehouse.night import publish_night
from tlnlp.warehouse.publish import Publication
from tlnlp.warehouse.schema import QUARANTINE, quarantine_name
from tlnlp.warehouse.tables import PREFIX, load_table


def add_days(warehouse: Path, first: date, days: int, mode: str = "full", rows: int = 0) -> None:
    """Publish ``days`` days from ``first`` on, each with the rows of the table's newest day.

    Args:
        mode: what the snapshots say of the nights.
        rows: at most so many rows a day; 0: all.
    """
    catalog = open_catalog(str(warehouse))
    scores = load_table(catalog, "scores")
    assert scores is not None
    table = scores.scan().to_arrow()
    table = table.filter(pc.equal(table["score_date"], pc.max(table["score_date"])))
    table = table.slice(0, rows or len(table))
    # The snapshots say as much as those of nights do, since each night reads what all of them say.
    facts = {field.name: str(len(table)) for field in fields(Counts)} | {"model_version": "1"}
    more = {"mode": mode, "scored_by": table["scored_by"][0].as_py()}
    for number in range(days):
        day, run_id = first + timedelta(days=number), new_run_id(utc_now())
        files = []
        for piece, content in (("scores-0000", _of_day(table, day, run_id)), ("quarantine", _rejected(day, run_id))):
            folder = warehouse / "runs" / run_id / piece / "0"
            folder.mkdir(parents=True)
            pq.write_table(content, folder / "part-0.parquet")
            files.append(f"file://{folder}/part-0.parquet")
        owner: dict[str, Any] = {key: scores.properties[PREFIX + key] for key in ("source", "model")}
        night = Publication("scores", day, (files[0],), run_id=run_id, summary=facts | more, **owner)
        aside = Publication(
            quarantine_name("scores"), day, (files[1],), run_id=run_id, summary=facts, columns=QUARANTINE, **owner
        )
        publish_night(catalog, night, aside)


def _of_day(table: pa.Table, day: date, run_id: str) -> pa.Table:
    """Return the rows as those of another day and run."""
    for name, value in (("score_date", pa.scalar(day, pa.date32())), ("run_id", pa.scalar(run_id))):
        place = table.schema.get_field_index(name)
        table = table.set_column(place, name, pa.repeat(value, len(table)))
    return table


def _rejected(day: date, run_id: str) -> pa.Table:
    row = {"document_id": "faulty", "reason": "null_text", "detail": "the text is null", "source": None}
    schema = pa.schema(
        [(name, pa.string()) for name in ("document_id", "reason", "detail", "source", "run_id")]
        + [("score_date", pa.date32())]
    )
    return pa.Table.from_pylist([row | {"run_id": run_id, "score_date": day}], schema=schema)
