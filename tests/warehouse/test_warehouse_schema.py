"""The columns of the tables and their translation for each engine."""

from __future__ import annotations

import subprocess
import sys

import pyarrow as pa
import pytest

from tlnlp.errors import UsageError
from tlnlp.warehouse.schema import (
    KEPT_TYPES,
    QUARANTINE,
    SCORES,
    Column,
    arrow_schema,
    arrow_type_name,
    check_kept,
    check_table,
    columns_of,
    iceberg_schema,
    kept_column,
    quarantine_name,
    spark_ddl,
    spark_type,
)

EVERY_TYPE = tuple(Column(f"kept_{kind}", kind) for kind in KEPT_TYPES)


def test_the_tables_have_the_columns_of_the_contract() -> None:
    names = "document_id label score probabilities text_sha256 stage scored_by model model_version run_id score_date"
    assert [column.name for column in SCORES] == [*names.split(), "scored_at"]
    # Tables of an earlier tlnlp lack the one that may be null.
    assert [column.name for column in SCORES if not column.required] == ["scored_by"]
    assert [column.name for column in QUARANTINE] == [
        "document_id",
        "reason",
        "detail",
        "source",
        "run_id",
        "score_date",
    ]
    assert [column.name for column in QUARANTINE if column.required] == ["reason", "run_id", "score_date"]


@pytest.mark.parametrize("columns", [(*SCORES, *EVERY_TYPE), QUARANTINE])
def test_iceberg_and_arrow_give_back_the_same_columns(columns: tuple[Column, ...]) -> None:
    assert columns_of(iceberg_schema(columns)) == columns
    fields = arrow_schema(columns)
    assert [(field.name, arrow_type_name(field.type), not field.nullable) for field in fields] == [
        (column.name, column.type, column.required) for column in columns
    ]


def test_field_ids_are_distinct_inside_the_map_too() -> None:
    schema = iceberg_schema([*SCORES, *EVERY_TYPE])
    assert sorted(schema._lazy_id_to_field) == list(range(1, len(SCORES) + len(EVERY_TYPE) + 3))


def test_spark_names_lead_back_to_the_type() -> None:
    for column in EVERY_TYPE:
        assert kept_column(column.name, spark_type(column.type)) == column
    assert spark_ddl([Column("item", "long"), Column("a`b", "string")]) == "`item` bigint, `a``b` string"
    assert kept_column("x", "smallint").type == "int"
    assert kept_column("x", "varchar(9)").type == "string"
    with pytest.raises(
        UsageError, match=r"price has type decimal\(10,2\).*cast it in the documents to string, .* or timestamp"
    ):
        kept_column("price", "decimal(10,2)")


@pytest.mark.parametrize("kind", [pa.timestamp("ns"), pa.timestamp("us"), pa.int16(), pa.map_(pa.string(), pa.int8())])
def test_other_arrow_types_are_not_taken_for_ours(kind: pa.DataType) -> None:
    assert arrow_type_name(kind) not in (*KEPT_TYPES, "map")


@pytest.mark.parametrize("taken", ["label", "Score_Date", "RUN_ID"])
def test_a_kept_column_may_not_take_a_name_of_the_table(taken: str) -> None:
    with pytest.raises(UsageError, match=taken):
        check_kept(["item", taken])
    check_kept(["item", "reason"])
    with pytest.raises(UsageError, match="twice"):
        check_kept(["item", "Item"])
    with pytest.raises(UsageError, match="empty name"):
        check_kept([" "])


def test_table_names() -> None:
    assert (quarantine_name("scores"), quarantine_name("reviews")) == ("quarantine", "reviews_quarantine")
    for good in ("scores", "reviews_2026", "_x"):
        check_table(good)
    reserved = ("history", "latest", "quarantine", "reviews_latest", "reviews_quarantine", "reviews_state")
    for bad in ("2026", "a-b", "a.b", "", "../x", *reserved):
        with pytest.raises(UsageError):
            check_table(bad)


def test_the_schema_loads_no_engine() -> None:
    code = "import sys, tlnlp.warehouse.schema; print({'pyarrow', 'pyiceberg', 'duckdb', 'pyspark'} & set(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert loaded.strip() == "set()"
