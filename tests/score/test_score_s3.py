"""A night whose documents, registry and warehouse are on a real S3 server."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import kit
import pytest
from pyspark.sql import SparkSession
from score_kit import DAY, MODEL, NEXT_DAY, SPARK, counts, night, positives, write_parquet

from tlnlp.config import ScoreSettings
from tlnlp.registry import Registry
from tlnlp.score import table_history
from tlnlp.score.job import ScoreResult, score
from tlnlp.storage import Storage
from tlnlp.warehouse.catalog import open_catalog
from tlnlp.warehouse.maintain import maintain
from tlnlp.warehouse.query import run_query
from tlnlp.warehouse.state_table import read_state
from tlnlp.warehouse.tables import load_table


@pytest.fixture
def root(s3_bucket: str) -> str:
    return f"{s3_bucket}/nights/{uuid4().hex[:8]}"


@pytest.fixture
def s3_registry(root: str, tiny_bundle: Path) -> str:
    registry = Registry(f"{root}/registry")
    registry.publish(MODEL, tiny_bundle)
    registry.set_champion(MODEL, 1, expected=None, by="ada", reason="first")
    return registry.storage.uri


def s3_night(root: str, **changes: object) -> ScoreResult:
    places = {name: f"{root}/{name}" for name in ("documents", "registry", "warehouse")}
    return score(ScoreSettings(**{**places, "model": MODEL, "score_date": DAY, "spark": SPARK, **changes}))


def queried(root: str, sql: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in run_query(f"{root}/warehouse", sql).rows]


def put(root: str, path: Path) -> None:
    Storage(f"{root}/documents").write(path.name, path)


def test_a_night_on_s3_gives_the_scores_of_a_night_on_disk(
    spark: SparkSession, root: str, s3_registry: str, registry: Path, warehouse: Path, tmp_path: Path
) -> None:
    rows = [{"id": f"d{number}", "text": text} for number, text in enumerate(kit.texts(40, seed=21))]
    files = [write_parquet(tmp_path / "documents" / f"{part}.parquet", rows[part::2]) for part in range(2)]
    for file in files:
        put(root, file)
    result = s3_night(root, chunk_rows=15)
    assert counts(result)["rows_in"] == counts(result)["rows_scored"] == 40
    night(tmp_path / "documents", warehouse, registry)
    on_s3 = dict(queried(root, "select document_id, probabilities['positive'] from scores"))
    assert on_s3 == pytest.approx(positives(warehouse), abs=1e-6)
    table = load_table(open_catalog(f"{root}/warehouse"), "scores")
    assert table is not None
    paths = [task.file.file_path for task in table.scan().plan_files()]
    assert len(paths) > 1
    assert all(path.startswith(f"{root}/warehouse/runs/{result.run_id}/scores-") for path in paths)


def test_jobs_commit_by_the_magic_committer(spark: SparkSession, root: str, s3_registry: str, tmp_path: Path) -> None:
    put(root, write_parquet(tmp_path / "a.parquet", [{"id": "1", "text": "good bread"}]))
    s3_night(root)
    storage = Storage(f"{root}/warehouse")
    success_files = [entry.key for entry in storage.list("runs") if entry.key.endswith("/_SUCCESS")]
    assert success_files
    for key in success_files:
        success = json.loads(storage.read(key))  # The committers of Hadoop's S3A write JSON; others write no content.
        assert success["committer"] == "magic"
    assert not [entry for entry in storage.list() if "__magic" in entry.key or "_temporary" in entry.key]


def test_a_second_night_reads_the_first(
    spark: SparkSession, root: str, s3_registry: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kit.write_jsonl(tmp_path / "a.jsonl", [{"id": str(n), "text": text} for n, text in enumerate(kit.texts(6))])
    put(root, tmp_path / "a.jsonl")
    first = s3_night(root)
    kit.write_jsonl(tmp_path / "b.jsonl", [{"id": "new", "text": "warm boots"}, {"id": "empty", "text": None}])
    put(root, tmp_path / "b.jsonl")
    second = s3_night(root, score_date=NEXT_DAY, mode="incremental", max_quarantine_share=0.5)
    assert counts(second) | {"texts_scored": 1} == {
        "rows_in": 8, "rows_scored": 1, "rows_reused": 6, "rows_duplicate": 0, "rows_quarantined": 1, "texts_scored": 1,
    }  # fmt: skip
    again = s3_night(root, max_quarantine_share=0.5)
    assert counts(again)["rows_reused"] == 7
    assert queried(root, "select score_date::varchar, count(*) from scores group by 1 order by 1") == [
        (DAY, 7), (NEXT_DAY, 1),
    ]  # fmt: skip
    sources = queried(root, "select distinct source from quarantine")
    assert sources == [(f"{root}/documents/b.jsonl",)]
    # A third night merges both days; then the first one, which was replaced, is removed with its snapshots.
    monkeypatch.setattr(table_history, "MOST_DAYS", 0)
    third = s3_night(root, score_date="2026-11-25", mode="incremental", max_quarantine_share=0.5)
    assert third.counts.rows_unchanged == 7
    catalog = open_catalog(f"{root}/warehouse")
    scores = load_table(catalog, "scores")
    assert scores is not None
    state = read_state(catalog, scores)
    assert state is not None
    assert (state.rows, state.through.isoformat()) == (7, NEXT_DAY)
    done = maintain(f"{root}/warehouse", catalog, now=datetime.now(UTC) + timedelta(days=31))
    # The third night has published no scores, so only its quarantine is referred to.
    assert first.run_id in done.runs_removed
    assert set(done.runs_removed) <= {first.run_id, third.run_id}
    assert done.snapshots_expired > 2
    assert queried(root, "select count(*), count(distinct document_id) from latest") == [(7, 7)]
