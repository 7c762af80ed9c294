"""Notifying external catalogs after a night: real S3, a real program, and a Glue endpoint that does not answer."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import uuid4

import pytest
import s3_server
from pyspark.sql import SparkSession
from score_kit import DAY, SPARK, write_parquet

from tlnlp.config import ScoreSettings
from tlnlp.errors import UsageError
from tlnlp.score.job import score
from tlnlp.storage import Storage
from tlnlp.warehouse.query import run_query


def test_a_failed_announcement_neither_hides_nor_undoes_the_night(
    spark: SparkSession,
    s3_bucket: str,
    registry: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_GLUE", f"http://127.0.0.1:{s3_server.free_port()}")
    warehouse = f"{s3_bucket}/announced-nights/{uuid4().hex[:8]}"
    documents = write_parquet(tmp_path / "a.parquet", [{"id": "1", "text": "good bread"}])
    announce = {"glue": {"database": "analytics"}, "snowflake": {"command": ["tee", str(tmp_path / "statements")]}}
    places = {"documents": str(documents), "registry": str(registry), "warehouse": warehouse}
    settings = ScoreSettings(**places, model="reviews", score_date=DAY, spark=SPARK, announce=announce)
    result = score(settings)
    assert result.counts.rows_published == 1
    assert run_query(warehouse, "select document_id from scores").rows == [("1",)]
    (key,) = [entry.key for entry in Storage(warehouse).list("ledgers")]
    ledger = json.loads(Storage(warehouse).read(key))
    assert ledger["status"] == "succeeded"
    announced = ledger["results"]["announced"]
    assert [(one["target"], one["outcome"]) for one in announced] == [("glue", "failed"), ("snowflake", "notified")] * 2
    assert "cannot be reached" in announced[0]["error"]
    assert [stage["name"] for stage in ledger["stages"]][-2:] == ["announce", "clean"]
    warning = capsys.readouterr().err
    assert "warning: the day is published, but glue was not notified of table scores" in warning
    assert "to notify it, run tlnlp warehouse announce with" in warning
    assert "REFRESH 'announced-nights/" in (tmp_path / "statements").read_text()


def test_an_announcement_that_cannot_work_is_refused_before_the_night(tmp_path: Path) -> None:
    places = {name: str(tmp_path / name) for name in ("documents", "registry", "warehouse")}
    with pytest.raises(UsageError, match="on a local disk, and athena reads s3://"):
        score(ScoreSettings(**places, score_date=DAY, announce={"glue": {"database": "analytics"}}))
    assert not (tmp_path / "warehouse").exists()
