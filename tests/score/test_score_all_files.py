"""A night reads all that its source holds, whatever the order of its files, and the values keep their meaning."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession
from score_kit import NEXT_DAY, documents, ledger, night, only_ledger, rows, write_parquet

from tlnlp.config import ScoreSettings
from tlnlp.errors import InputDataError, TlnlpError, UsageError
from tlnlp.score.kept_values import check_values
from tlnlp.score.session import spark_errors
from tlnlp.score.source import Documents, read_documents
from tlnlp.score.source_files import check_files
from tlnlp.warehouse.schema import Column

pytestmark = pytest.mark.usefixtures("spark")

GOOD: list[dict[str, Any]] = [
    {"id": "1", "text": "good bread"},
    {"id": "2", "text": "bad boots"},
    {"id": "3", "text": "late ferry"},
]


def nulled(read: Documents) -> dict[str, int]:
    """Return how many values of each kept column became null."""
    return check_values(read.frame, read.checks, {column.name: column.type for column in read.kept_columns})


def found(spark: SparkSession, folder: Path, known: Sequence[Column] = (), **changes: Any) -> Documents:
    settings = ScoreSettings(documents=str(folder), score_date="2026-11-23", **changes)
    return read_documents(spark, settings, {column.name: column for column in known})


def checked(spark: SparkSession, folder: Path, **changes: Any) -> tuple[Documents, dict[str, int]]:
    read = found(spark, folder, **changes)
    return read, nulled(read)


def values(read: Documents) -> dict[str, tuple[Any, ...]]:
    """Return the kept values by id, after checking that no row has a fault."""
    kept = [f"_kept_{number}" for number in range(len(read.kept_columns))]
    collected = read.frame.select("document_id", "fault", *kept).collect()
    assert not any(row["fault"] for row in collected)
    return {row["document_id"]: tuple(row[2:]) for row in collected}


def jsonl(path: Path, lines: Sequence[Mapping[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_columns_may_differ_from_file_to_file_in_any_order(spark: SparkSession, tmp_path: Path) -> None:
    first = [GOOD[0] | {"id": 1, "n": 7, "queue": "a", "note": None, "at": 1, "mixed": 5, "some": True}]
    second = [GOOD[1] | {"n": 1 << 40, "note": "x", "mixed": "five", "some": 0.5, "more": 2}]
    kinds = {"n": pa.int32(), "note": pa.null(), "at": pa.timestamp("ns"), "mixed": pa.int16()}
    wanted = {"1": (7, "a", None, "5", "true", None), "2": (1 << 40, None, "x", "five", "0.5", 2)}
    for order in ("ab", "ba"):
        folder = tmp_path / order
        write_parquet(folder / f"{order[0]}.parquet", first, **kinds)
        write_parquet(folder / f"{order[1]}.parquet", second)
        write_parquet(folder / "empty.parquet", [], other=pa.int8())
        read = found(spark, folder, keep_columns=["n", "queue", "note", "mixed", "some", "more"])
        assert values(read) == wanted, order
        assert [column.type for column in read.kept_columns] == ["long", "string", "string", "string", "string", "long"]
        assert (read.rows, read.checks) == (2, {})


def test_the_column_of_ids_or_texts_must_be_in_every_file(spark: SparkSession, tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", GOOD[:1])
    write_parquet(tmp_path / "b.parquet", [{"id": "2", "body": "bad boots"}])
    with pytest.raises(InputDataError, match=r"b\.parquet: the file has no column 'text' \(it has: id, body\)"):
        found(spark, tmp_path)
    write_parquet(tmp_path / "b.parquet", [{"id": ["2"], "text": "bad boots"}])
    with pytest.raises(InputDataError, match=r"'id' has type list<element: string>, which cannot be an id"):
        found(spark, tmp_path)


def test_ids_of_any_type_are_one_text(spark: SparkSession, tmp_path: Path) -> None:
    kinds: list[tuple[Any, Any, str]] = [
        (12, None, "12"),
        (1e22, None, "10000000000000000000000"),
        (0.1, None, "0.1"),
        (True, None, "true"),
        ((1 << 63) + 1, pa.uint64(), "9223372036854775809"),
        (Decimal("12.50"), None, "12.5"),
        (Decimal("0.00000000"), pa.decimal128(20, 8), "0"),
        (date(2026, 1, 31), None, "2026-01-31"),
        (datetime(2026, 1, 31, 10, 30, 0, 250_000), pa.timestamp("us"), "2026-01-31 10:30:00.25"),
    ]
    for number, (value, kind, _) in enumerate(kinds):
        columns = {"id": kind} if kind else {}
        write_parquet(tmp_path / "p" / f"{number}.parquet", [{"id": value, "text": "good"}], **columns)
    write_parquet(
        tmp_path / "p" / "nan.parquet", [{"id": 13, "text": "good"}, {"id": None, "text": "x"}], id=pa.float64()
    )
    assert set(values(found(spark, tmp_path / "p"))) == {text for _, _, text in kinds} | {"13", None}
    lines = [{"id": value, "text": "good"} for value, kind, _ in kinds[:4]]
    jsonl(tmp_path / "j.jsonl", [*lines, {"id": 13.0, "text": "good"}])
    assert set(values(found(spark, tmp_path / "j.jsonl"))) == {text for _, _, text in kinds[:4]} | {"13"}


def test_partition_values_stay_text(spark: SparkSession, tmp_path: Path) -> None:
    stores = {"007": "007", "a%2Fb +é%": "a/b +é%", "__HIVE_DEFAULT_PARTITION__": None}
    for folder, row in zip(stores, GOOD, strict=True):
        jsonl(tmp_path / "j" / f"store={folder}" / "plain" / "a.jsonl", [row])
        write_parquet(tmp_path / "p" / f"store={folder}" / "a.parquet", [row])
        (tmp_path / "c" / f"store={folder}").mkdir(parents=True)
        (tmp_path / "c" / f"store={folder}" / "a.csv").write_text(f"id,text\n{row['id']},{row['text']}\n")
    for kind in "jpc":
        read = found(spark, tmp_path / kind, keep_columns="store")
        assert values(read) == {row["id"]: (store,) for row, store in zip(GOOD, stores.values(), strict=True)}, kind
    read = found(spark, tmp_path / "j", [Column("store", "int")], keep_columns="store")
    assert values(read) == {"1": (7,), "2": (None,), "3": (None,)}
    jsonl(tmp_path / "j" / "plain" / "store=1" / "a.jsonl", GOOD)
    with pytest.raises(InputDataError, match="column 'store' is in the names of folders"):
        found(spark, tmp_path / "j", keep_columns="store")


def test_a_partition_that_is_also_in_the_files_must_agree(spark: SparkSession, tmp_path: Path) -> None:
    name, days = "day=2026-01-30", ("2026-01-30", "2026-01-31")
    for day in days:
        jsonl(tmp_path / f"j{day}" / name / "a.jsonl", [GOOD[0] | {"day": days[0]}, GOOD[1] | {"day": day}])
        (tmp_path / f"c{day}" / name).mkdir(parents=True)
        (tmp_path / f"c{day}" / name / "a.csv").write_text(f"id,text,day\n1,good,{days[0]}\n2,bad,{day}\n")
        parquet: list[dict[str, Any]] = [GOOD[0] | {"day": None}, GOOD[1] | {"day": date.fromisoformat(day)}]
        write_parquet(tmp_path / f"p{day}" / name / "a.parquet", parquet)
    for kind in "jcp":
        read, nulled = checked(spark, tmp_path / f"{kind}{days[0]}", keep_columns="day")
        assert (values(read), nulled) == ({"1": (days[0],), "2": (days[0],)}, {})
        with pytest.raises(InputDataError, match=r"'day' is in the names of folders .* and in the files, with another"):
            checked(spark, tmp_path / f"{kind}{days[1]}", keep_columns="day")


def test_a_new_column_of_json_gets_a_type_by_all_of_its_values(spark: SparkSession, tmp_path: Path) -> None:
    lines: list[dict[str, Any]] = [GOOD[0] | {"id": str(n), "price": 10, "n": n} for n in range(300)]
    source = jsonl(tmp_path / "a.jsonl", [*lines, GOOD[1] | {"id": "last", "price": 10.5, "sparse": "x"}])
    read = found(spark, source, keep_columns=["price", "n", "sparse"])
    assert [column.type for column in read.kept_columns] == ["double", "long", "string"]
    by_id = values(read)
    assert (by_id["7"], by_id["last"]) == ((10.0, 7, None), (10.5, None, "x"))
    with pytest.raises(InputDataError, match=r"the input has no column 'color' \(it has: id, text, price, n, sparse"):
        found(spark, source, keep_columns=["price", "color"])
    known = [Column("color", "string"), Column("price", "long")]
    assert values(found(spark, source, known, keep_columns=["price", "color"]))["last"] == (None, None)


def test_values_take_the_type_of_the_table_or_are_counted(
    spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    big = (1 << 53) + 1
    # For each type of the table: values, and what they become. Only a value that is lost is counted.
    cases: dict[str, list[tuple[Any, Any]]] = {
        "long": [(12.0, 12), (12.5, None), (float("nan"), None), ("7", 7), ("", None), ("x", None), (True, None)],
        "double": [(big - 1, float(big - 1)), (big, None), ("0.5", 0.5), (Decimal("0.25"), 0.25)],
        "int": [(1 << 31, None), (5, 5)],
        "boolean": [("true", True), (True, True), ("perhaps", None)],
        "date": [("2026-01-31", date(2026, 1, 31)), (datetime(2026, 1, 31), date(2026, 1, 31)), (5, None)],
        "string": [(1.0, "1"), (date(2026, 1, 31), "2026-01-31"), (Decimal("1.10"), "1.1")],
    }
    lost = {"long": 3, "double": 1, "int": 1, "boolean": 1, "date": 1}
    names = list(cases)
    for name, pairs in cases.items():
        for number, (value, _) in enumerate(pairs):
            write_parquet(
                tmp_path / "p" / f"{name}{number}.parquet", [{"id": f"{name}{number}", "text": "x", name: value}]
            )
    read = found(spark, tmp_path / "p", [Column(name, name) for name in names], keep_columns=names)
    by_id = values(read)
    for place, (name, pairs) in enumerate(cases.items()):
        assert [by_id[f"{name}{number}"][place] for number in range(len(pairs))] == [value for _, value in pairs]
    assert nulled(read) == lost
    assert (
        "3 values of long did not fit long, the type that the table has for it, and became null"
        in capsys.readouterr().err
    )
    lines: list[dict[str, Any]] = [
        {"id": "a", "text": "x", "long": 10},
        {"id": "b", "text": "x", "long": 10.5},
        {"id": "c", "text": "x"},
    ]
    read = found(spark, jsonl(tmp_path / "a.jsonl", lines), [Column("long", "long")], keep_columns="long")
    assert values(read) == {"a": (10,), "b": (None,), "c": (None,)}
    assert nulled(read) == {"long": 1}


def test_types_that_no_column_can_have_are_refused_and_matter_only_if_kept(spark: SparkSession, tmp_path: Path) -> None:
    source = write_parquet(tmp_path / "a.parquet", [GOOD[0] | {"at": 1, "inner": {"a": 1}}], at=pa.timestamp("ns"))
    assert values(found(spark, source)) == {"1": ()}
    for name, kind in (("at", "timestamp in nanoseconds"), ("inner", "struct<a: int64>")):
        with pytest.raises(UsageError, match=f"keep_columns: {name} has type {kind}"):
            found(spark, source, keep_columns=name)
        with pytest.raises(UsageError, match=f"keep_columns: {name} has type {kind}"):
            found(spark, source, [Column(name, "string")], keep_columns=name)


def test_spark_must_list_the_same_files_and_read_all_of_them(spark: SparkSession, tmp_path: Path) -> None:
    jsonl(tmp_path / "a.jsonl", GOOD * 70)  # The first lines are looked at before Spark reads any.
    read = found(spark, tmp_path)
    jsonl(tmp_path / "b.jsonl", GOOD)
    with pytest.raises(InputDataError, match=r"listing has 1 file, but Spark would read 2 \(they differ in b\.jsonl\)"):
        check_files([spark.read.text(str(tmp_path))], read.given.files, "documents")
    packed = gzip.compress(json.dumps(GOOD[0]).encode() + b"\n" * 100_000)
    (tmp_path / "c.jsonl.gz").write_bytes(packed[: len(packed) // 2])
    spark.conf.set("spark.sql.files.ignoreCorruptFiles", "true")
    try:
        with pytest.raises(TlnlpError), spark_errors("documents"):
            found(spark, tmp_path).frame.collect()
    finally:
        spark.conf.unset("spark.sql.files.ignoreCorruptFiles")


def test_nights_keep_the_types_of_the_table_and_count_files(
    registry: Path, warehouse: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, keys = tmp_path / "docs", {"keep_columns": ["price", "store"], "mode": "incremental"}
    jsonl(folder / "store=007" / "a.jsonl", [row | {"price": 10} for row in documents(3)])
    (folder / "README.txt").write_text("These are the exported reviews.\n")
    first = night(folder, warehouse, registry, **keys)
    assert (
        "left out, since their names say that they are hidden or of another format: README.txt"
        in capsys.readouterr().err
    )
    saved = only_ledger(warehouse)
    assert (saved["counts"]["files_read"], saved["counts"]["files_left_out"]) == (1, 1)
    assert saved["results"]["files_left_out"] == ["README.txt"]
    jsonl(folder / "store=A12" / "b.jsonl", [row | {"id": row["id"] + "b", "price": 10.5} for row in documents(2, 1)])
    second = night(folder, warehouse, registry, score_date=NEXT_DAY, **keys)
    assert first.counts.rows_quarantined == second.counts.rows_quarantined == 0
    counted = ledger(warehouse, second.run_id)
    assert (counted["counts"]["kept_values_nulled"], counted["results"]["kept_values_nulled"]) == (2, {"price": 2})
    found = rows(warehouse, "select distinct price, store from scores order by all")
    assert found == [{"price": 10, "store": "007"}, {"price": None, "store": "A12"}]


def test_times_that_no_reader_of_the_table_reads_are_refused_before_scoring(
    registry: Path, warehouse: Path, tmp_path: Path
) -> None:
    days = pa.array([0, 2932897, -719163], pa.int32()).cast(pa.date32())
    texts = pa.array([row["text"] for row in GOOD])
    pq.write_table(pa.table({"id": ["1", "2", "3"], "text": texts, "d": days}), tmp_path / "a.parquet")
    with pytest.raises(InputDataError, match=r"keep_columns: d holds 2 times before the year 1 or after 9999"):
        night(tmp_path / "a.parquet", warehouse, registry, keep_columns="d")
    assert not warehouse.exists()
