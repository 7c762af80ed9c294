"""Nights that are refused: too much in quarantine, a table of another source or model, an altered bundle."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from score_kit import MODEL, NEXT_DAY, documents, live_runs, night, only_ledger, positives, rows, write_parquet

from tlnlp.errors import (
    BundleError,
    InputDataError,
    ModelNotFoundError,
    NotFoundError,
    NothingToPublishError,
    PublishConflictError,
    UsageError,
)
from tlnlp.model import bundle


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_parquet(tmp_path / "documents.parquet", documents(4))


def test_too_much_in_quarantine_publishes_nothing(
    spark: SparkSession, registry: Path, warehouse: Path, tmp_path: Path
) -> None:
    canary = "a sentence that is in no message"
    listed = [*documents(5), {"id": "x", "text": None}, {"id": "y", "text": " "}, {"id": None, "text": canary}]
    source = write_parquet(tmp_path / "documents.parquet", listed)
    message = (
        r"quarantine would take 3 of 8 documents \(1 blank_text, 1 missing_id, 1 null_text\), more than "
        r"max_quarantine_share=0\.374; nothing was published"
    )
    with pytest.raises(NothingToPublishError, match=message):
        night(source, warehouse, registry, max_quarantine_share=0.374)
    assert live_runs(warehouse) == set()
    with pytest.raises(NotFoundError):
        rows(warehouse, "select * from scores")
    saved = only_ledger(warehouse)
    assert (saved["status"], saved["error"]["exit_code"]) == ("failed", 8)
    assert saved["counts"]["rows_quarantined"] == 3
    assert canary not in str(saved)
    assert night(source, warehouse, registry, max_quarantine_share=0.375).counts.rows_quarantined == 3


def test_a_table_belongs_to_one_source_and_one_model(
    spark: SparkSession, registry: Path, warehouse: Path, source: Path, tmp_path: Path
) -> None:
    night(source, warehouse, registry)
    scores = positives(warehouse)
    moved = tmp_path / "tonight" / "documents.parquet"
    moved.parent.mkdir()
    shutil.copy(source, moved)
    with pytest.raises(PublishConflictError, match=r"belongs to source .*documents.parquet"):
        night(moved, warehouse, registry)
    with pytest.raises(PublishConflictError, match="belongs to model 'reviews'"):
        night(source, warehouse, registry, model="other")
    assert positives(warehouse) == scores
    night(moved, warehouse, registry, table="elsewhere")
    assert positives(warehouse, table="elsewhere") == pytest.approx(scores)
    # With the setting ``source``, the URI of the documents may change from night to night.
    night(source, warehouse, registry, table="by_name", source="the-shop")
    result = night(moved, warehouse, registry, table="by_name", source="the-shop", score_date=NEXT_DAY)
    assert result.counts.rows_reused == 4
    assert rows(warehouse, "select count(*) n from by_name_quarantine") == [{"n": 0}]


def test_a_kept_column_that_the_table_names_otherwise_is_refused_before_any_row_is_staged(
    spark: SparkSession, registry: Path, warehouse: Path, tmp_path: Path
) -> None:
    source = write_parquet(tmp_path / "documents.parquet", [row | {"item": "boots"} for row in documents(2)])
    night(source, warehouse, registry, keep_columns="item")
    write_parquet(source, [row | {"Item": "boots"} for row in documents(2)])
    before = live_runs(warehouse)
    with pytest.raises(UsageError, match="Item is string in this run, but table scores has item as string"):
        night(source, warehouse, registry, keep_columns="Item")
    assert not [run for run in live_runs(warehouse) - before if any((warehouse / "runs" / run).rglob("*.parquet"))]


@pytest.mark.parametrize("table", ["history", "quarantine", "by_quarantine"])
def test_reserved_table_names_are_refused(registry: Path, warehouse: Path, source: Path, table: str) -> None:
    with pytest.raises(UsageError, match="the name is reserved for tables and views that tlnlp adds"):
        night(source, warehouse, registry, table=table)
    assert not warehouse.exists()


@pytest.fixture
def own_registry(registry: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(registry, tmp_path / "registry"))


def no_spark(*_: object, **__: object) -> None:
    raise RuntimeError("Spark must not start in this test")


@pytest.mark.parametrize("file", sorted(bundle.REQUIRED | {bundle.MANIFEST}))
def test_a_flipped_byte_is_found_before_spark_starts(
    own_registry: Path, warehouse: Path, source: Path, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tlnlp.score.night_context.spark_session", no_spark)
    path = own_registry / MODEL / "versions" / "1" / file
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x01
    path.write_bytes(bytes(data))
    with pytest.raises(BundleError) as raised:
        night(source, warehouse, own_registry)
    assert file == bundle.MANIFEST or file in str(raised.value)
    assert live_runs(warehouse) == set()
    assert only_ledger(warehouse)["error"]["exit_code"] == 4


@pytest.mark.parametrize("change", ["extra", "missing"])
def test_a_version_folder_must_hold_exactly_its_files(
    own_registry: Path, warehouse: Path, source: Path, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tlnlp.score.night_context.spark_session", no_spark)
    folder = own_registry / MODEL / "versions" / "1"
    if change == "extra":
        (folder / "weights.pkl").write_bytes(b"no")
    else:
        (folder / bundle.NGRAM).unlink()
    with pytest.raises(BundleError, match="weights.pkl" if change == "extra" else bundle.NGRAM):
        night(source, warehouse, own_registry)


def test_a_night_of_missing_documents_creates_no_warehouse(spark: SparkSession, registry: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputDataError, match=r"none\.parquet"):
        night(tmp_path / "none.parquet", tmp_path / "new" / "ware", registry)
    assert sorted(tmp_path.rglob("*")) == before


def test_an_unknown_model_or_version_is_refused(registry: Path, warehouse: Path, source: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="no model 'nobody'"):
        night(source, warehouse, registry, model="nobody")
    with pytest.raises(ModelNotFoundError, match="reviews has no version 9"):
        night(source, warehouse, registry, model="reviews@9")
