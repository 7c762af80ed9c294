"""Helpers of the scoring tests: write documents, run a night, and read what it has published."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import kit
import pyarrow as pa
import pyarrow.parquet as pq

from tlnlp.config import ScoreSettings
from tlnlp.score.job import ScoreResult, score
from tlnlp.warehouse.query import run_query

MODEL = "reviews"
DAY, NEXT_DAY = "2026-11-23", "2026-11-24"
SPARK = kit.SPARK
COUNTS = ("rows_in", "rows_scored", "rows_reused", "rows_duplicate", "rows_quarantined", "texts_scored")


def night_settings(documents: Path, warehouse: Path, registry: Path, **changes: Any) -> dict[str, Any]:
    """Return the settings of a night in these places, with the changes applied."""
    places = {"documents": str(documents), "warehouse": str(warehouse), "registry": str(registry)}
    return places | {"model": MODEL, "score_date": DAY, "spark": SPARK} | changes


def night(documents: Path, warehouse: Path, registry: Path, **changes: Any) -> ScoreResult:
    """Run a night in this process."""
    return score(ScoreSettings(**night_settings(documents, warehouse, registry, **changes)))


def counts(result: ScoreResult) -> dict[str, int]:
    """Return the counts of a night, after checking that they add up to the input rows."""
    values = result.to_json()
    outcomes = ("rows_scored", "rows_reused", "rows_duplicate", "rows_quarantined")
    assert values["rows_in"] == sum(values[name] for name in outcomes)
    return {name: values[name] for name in COUNTS}


def ledger(warehouse: Path, run_id: str) -> dict[str, Any]:
    """Return the ledger of a run."""
    content: dict[str, Any] = json.loads((warehouse / "ledgers" / f"{run_id}.json").read_text())
    return content


def only_ledger(warehouse: Path) -> dict[str, Any]:
    """Return the ledger of a warehouse with exactly one run."""
    (path,) = (warehouse / "ledgers").glob("*.json")
    return ledger(warehouse, path.stem)


def rows(warehouse: Path, sql: str) -> list[dict[str, Any]]:
    """Return the rows of a query, each as a dictionary by column."""
    result = run_query(str(warehouse), sql)
    return [dict(zip(result.columns, row, strict=True)) for row in result.rows]


def positives(warehouse: Path, day: str = DAY, table: str = "scores") -> dict[str, float]:
    """Return the probability of ``positive`` by document id, after checking that each id has one row."""
    scored = rows(warehouse, f"select document_id, probabilities from {table} where score_date = '{day}'")
    by_id = {row["document_id"]: float(row["probabilities"]["positive"]) for row in scored}
    assert len(by_id) == len(scored)
    return by_id


def reasons(warehouse: Path, table: str = "quarantine") -> dict[str | None, str]:
    """Return the quarantine reason by document id. Of several rows with one id, the last counts."""
    rejected = rows(warehouse, f"select document_id, reason from {table}")
    return {row["document_id"]: row["reason"] for row in rejected}


def documents(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Return ``count`` documents with the ids ``d0``, ``d1``, ..."""
    return [{"id": f"d{number}", "text": text} for number, text in enumerate(kit.texts(count, seed))]


def write_parquet(path: Path, rows: Sequence[Mapping[str, Any]], **columns: pa.DataType) -> Path:
    """Write the rows as one Parquet file. ``columns`` gives types; Arrow infers the types of the other columns."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    table = pa.table({name: pa.array([row.get(name) for row in rows], columns.get(name)) for name in names})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
    return path


def broken_string(data: bytes) -> pa.StringArray:
    """Return a string column with one value that is not UTF-8."""
    offsets = b"".join(number.to_bytes(4, "little") for number in (0, len(data)))
    return pa.StringArray.from_buffers(1, pa.py_buffer(offsets), pa.py_buffer(data))


def live_runs(warehouse: Path) -> set[str]:
    """Return the names of the folders below runs/."""
    return {path.name for path in (warehouse / "runs").iterdir()} if (warehouse / "runs").exists() else set()


def start_process(script: str, settings: Mapping[str, Any], log: Path) -> subprocess.Popen[bytes]:
    """Start a night in a new process and process group. ``script`` runs before the night and can read ``settings``."""
    plain = {key: value.model_dump() if key == "spark" else value for key, value in settings.items()}
    program = f"""
import json, os, signal, sys, time
from pathlib import Path
from tlnlp.runs import environment
environment.apply_defaults()
import tlnlp.score.job as job
from tlnlp.config import ScoreSettings
from tlnlp.cli.entry import guarded
settings = json.loads(sys.argv[1])
{script}
def run():
    print(json.dumps(job.score(ScoreSettings(**settings)).to_json()))
sys.exit(guarded(run, False))
"""
    with log.open("wb") as stream:
        return subprocess.Popen(
            [sys.executable, "-c", program, json.dumps(plain)],
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={name: value for name, value in os.environ.items() if not name.startswith("PYSPARK_GATEWAY")},
        )
