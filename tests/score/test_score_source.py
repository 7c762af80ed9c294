"""Reading documents in every format and layout, and refusing unusable input."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession
from score_kit import broken_string, counts, live_runs, night, rows, write_parquet

from tlnlp.config import ScoreSettings
from tlnlp.errors import InputDataError, NothingToPublishError, TlnlpError, UsageError
from tlnlp.score.source import read_documents
from tlnlp.warehouse.schema import SCORES

pytestmark = pytest.mark.usefixtures("spark")

GOOD = [{"id": "1", "text": "good bread"}, {"id": "2", "text": "bad boots"}]


def read(spark: SparkSession, documents: Path, **changes: Any) -> list[dict[str, Any]]:
    """Return the rows that ``read_documents`` reads, sorted by id, with the kept columns under their own names."""
    settings = ScoreSettings(documents=str(documents), score_date="2026-11-23", **changes)
    found = read_documents(spark, settings)
    frame, kept_columns = found.frame, found.kept_columns
    names = {f"_kept_{number}": column.name for number, column in enumerate(kept_columns)}
    rows = [{names.get(key, key): value for key, value in row.asDict().items()} for row in frame.collect()]
    return sorted(rows, key=lambda row: str(row["document_id"]))


def pairs(spark: SparkSession, documents: Path, **changes: Any) -> list[tuple[str, str]]:
    return [(row["document_id"], row["text"]) for row in read(spark, documents, **changes)]


def jsonl(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_each_format_as_a_file_compressed_and_as_a_folder(spark: SparkSession, tmp_path: Path) -> None:
    wanted = [(row["id"], row["text"]) for row in GOOD]
    folder = tmp_path / "a folder {1}"
    folder.mkdir()
    write_parquet(folder / "all.parquet", GOOD)
    (folder / "all.jsonl").write_text("\n" + jsonl(GOOD).replace("\n", "\n\n  \n"))
    (folder / "all.jsonl.gz").write_bytes(gzip.compress(jsonl(GOOD).encode()))
    (folder / "all.csv").write_text("id,text\n1,good bread\n\n2,bad boots\n")
    (folder / "all.csv.gz").write_bytes(gzip.compress(b"id,text\n1,good bread\n2,bad boots\n"))
    for file in sorted(folder.iterdir()):
        assert pairs(spark, file) == wanted, file.name
        assert {Path(row["source"]).name for row in read(spark, file)} == {file.name}
        assert {row["fault"] for row in read(spark, file)} == {None}
    for ending in ("jsonl", "csv", "parquet"):
        several = tmp_path / f"several.{ending}" / "deeper=1"
        several.mkdir(parents=True)
        (several / f"one.{ending}").write_bytes((folder / f"all.{ending}").read_bytes())
        (several.parent / "_SUCCESS").write_text("")
        assert pairs(spark, several.parent) == wanted, ending


def test_csv_as_configured(spark: SparkSession, tmp_path: Path) -> None:
    source = tmp_path / "documents.csv"
    source.write_text("1;'good; \n\"warm\" bread'\n2;'bad'\n", encoding="utf-8")
    options = {"delimiter": ";", "quote": "'", "escape": "'", "header": False}
    actual = pairs(spark, source, csv=options, id_column="_c0", text_column="_c1")
    assert actual == [("1", 'good; \n"warm" bread'), ("2", "bad")]


def test_a_format_may_be_given(spark: SparkSession, tmp_path: Path) -> None:
    source = tmp_path / "documents.txt"
    source.write_text(jsonl(GOOD))
    assert len(pairs(spark, source, format="json")) == 2
    with pytest.raises(InputDataError, match=r"no file there ends in \.parquet, \.jsonl, .*--set format="):
        read(spark, source)


def test_kept_columns_of_each_type_are_published(registry: Path, warehouse: Path, tmp_path: Path) -> None:
    moment = datetime(2026, 11, 20, 10, 30, 0, 250, tzinfo=UTC)
    kept_columns: dict[str, tuple[Any, pa.DataType]] = {
        "item": ("boots", pa.string()),
        "stars": (4, pa.int8()),
        "place": (7, pa.int32()),
        "seen": (1 << 40, pa.int64()),
        "weight": (0.5, pa.float32()),
        "price": (12.25, pa.float64()),
        "bought": (True, pa.bool_()),
        "written": (date(2026, 11, 20), pa.date32()),
        "at": (moment, pa.timestamp("us", tz="UTC")),
        "nothing": (None, pa.string()),
    }
    # Names of columns that scoring itself uses, and a name that must be quoted.
    kept_columns |= {
        name: (name, pa.string()) for name in ("source", "reason", "outcome", "bucket", "fault", "a `b` c.d", "TEXT2")
    }
    document = {"number": 11, "body": "good bread"} | {name: value for name, (value, _) in kept_columns.items()}
    types = {name: kind for name, (_, kind) in kept_columns.items()}
    source = write_parquet(tmp_path / "documents.parquet", [document], number=pa.int32(), **types)
    changes = {"id_column": "number", "text_column": "body", "keep_columns": [*kept_columns, "body", "number"]}
    night(source, warehouse, registry, **changes)
    row = rows(warehouse, "select * from scores")[0]
    assert list(row) == [*(column.name for column in SCORES), *kept_columns, "body", "number"]
    assert row["document_id"] == "11"
    assert row["body"] == "good bread"
    for name in kept_columns:
        value = kept_columns[name][0]
        assert row[name] == (value.isoformat() if isinstance(value, date) else value), name
    again = night(source, warehouse, registry, **changes)
    assert counts(again)["rows_reused"] == 1
    assert rows(warehouse, "select * exclude (run_id) from scores") == [{k: v for k, v in row.items() if k != "run_id"}]


def test_folders_by_hive_partition_keep_the_partition_column(spark: SparkSession, tmp_path: Path) -> None:
    for ending, write in (
        ("jsonl", lambda path, row: path.write_text(jsonl([row]))),
        ("csv", lambda path, row: path.write_text(f"id,text\n{row['id']},{row['text']}\n")),
        ("parquet", lambda path, row: write_parquet(path, [row])),
    ):
        folder = tmp_path / ending
        for item, row in zip(("boots", "bread & more"), GOOD, strict=True):
            (folder / f"item={item}").mkdir(parents=True)
            write(folder / f"item={item}" / f"part.{ending}", row)
        documents = read(spark, folder, keep_columns="item")
        assert [(row["document_id"], row["text"], row["item"]) for row in documents] == [
            ("1", "good bread", "boots"),
            ("2", "bad boots", "bread & more"),
        ]


def test_ids_of_other_types_become_text(spark: SparkSession, tmp_path: Path) -> None:
    source = write_parquet(tmp_path / "n.parquet", [{"id": (1 << 60) + 1, "text": "good"}])
    assert read(spark, source)[0]["document_id"] == "1152921504606846977"
    (tmp_path / "n.jsonl").write_text('{"id": 1152921504606846977, "text": "good"}\n')
    assert read(spark, tmp_path / "n.jsonl")[0]["document_id"] == "1152921504606846977"


def test_json_kept_columns_take_the_type_of_their_values(spark: SparkSession, tmp_path: Path) -> None:
    source = tmp_path / "documents.jsonl"
    fields: dict[str, list[Any]] = {
        "whole": [1, None],
        "real": [1, 2.5],
        "yes": [True, False],
        "mixed": [1, "one"],
        "inner": [{"a": 1}, None],
    }
    lines = [{"id": str(n), "text": "good"} | {name: values[n] for name, values in fields.items()} for n in (0, 1)]
    source.write_text(jsonl(lines))
    first, second = read(spark, source, keep_columns=list(fields))
    assert [first[name] for name in fields] == [1, 1.0, True, "1", '{"a":1}']
    assert [second[name] for name in fields] == [None, 2.5, False, "one", None]


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"id_column": "key"}, InputDataError, r"has no column 'key' \(it has: id, text, n, parts\).*id_column="),
        ({"text_column": "body"}, InputDataError, r"has no column 'body'.*text_column="),
        ({"keep_columns": ["n", "item"]}, InputDataError, r"has no column 'item'.*keep_columns="),
        ({"text_column": "n"}, InputDataError, r"column 'n' holds bigint, not text"),
        ({"keep_columns": "parts"}, UsageError, r"parts has type list<element: int64>"),
    ],
)
def test_missing_or_unsuitable_columns_are_refused(
    spark: SparkSession, tmp_path: Path, changes: dict[str, Any], error: type[TlnlpError], message: str
) -> None:
    source = write_parquet(tmp_path / "a.parquet", [{"id": "1", "text": "good", "n": 3, "parts": [1]}])
    with pytest.raises(error, match=message) as raised:
        read(spark, source, **changes)
    assert "file://" in str(raised.value) or error is UsageError


def test_a_json_text_column_without_any_text_is_the_wrong_column(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"id": "1", "text": 5}\n{"id": "2", "text": 6}\n')
    with pytest.raises(InputDataError, match=r"'text' holds no text in the first 200 lines; .*text_column="):
        read(spark, tmp_path / "a.jsonl")


@pytest.mark.parametrize("name", ["label", "RUN_ID", "score_date"])
def test_a_kept_column_must_not_have_a_name_of_the_table(
    registry: Path, warehouse: Path, tmp_path: Path, name: str
) -> None:
    source = write_parquet(tmp_path / "a.parquet", [GOOD[0] | {name: "x"}])
    with pytest.raises(UsageError, match=f"{name} would take the name"):
        night(source, warehouse, registry, keep_columns=name)
    assert not warehouse.exists()


def test_missing_mixed_and_unreadable_files_are_refused(spark: SparkSession, tmp_path: Path) -> None:
    with pytest.raises(InputDataError, match="missing: nothing is there"):
        read(spark, tmp_path / "missing")
    (tmp_path / "hollow").mkdir()
    with pytest.raises(InputDataError, match="hollow: the folder holds no files"):
        read(spark, tmp_path / "hollow")
    mixed = tmp_path / "mixed"
    write_parquet(mixed / "a.parquet", GOOD)
    (mixed / "b.csv").write_text("id,text\n")
    with pytest.raises(
        InputDataError, match=r"several formats \(1 file of csv, 1 file of parquet\).*leaves the others out"
    ):
        read(spark, mixed)
    nanos = pa.array([1], pa.timestamp("ns"))
    pq.write_table(pa.table({"id": ["1"], "text": ["x"], "at": nanos}), tmp_path / "nanos.parquet")
    assert pairs(spark, tmp_path / "nanos.parquet") == [("1", "x")]
    twins = pa.table([pa.array(["1"]), pa.array(["x"]), pa.array(["y"])], names=["id", "text", "Text"])
    pq.write_table(twins, tmp_path / "twins.parquet")
    with pytest.raises(InputDataError, match="differ from it in upper and lower case only"):
        read(spark, tmp_path / "twins.parquet")


def test_damaged_files_end_the_night_and_leave_no_texts(registry: Path, warehouse: Path, tmp_path: Path) -> None:
    whole = write_parquet(tmp_path / "whole.parquet", [{"id": str(n), "text": f"good {n}"} for n in range(500)])
    data = whole.read_bytes()
    packed = gzip.compress(jsonl([{"id": str(n), "text": f"good {n}"} for n in range(3000)]).encode())
    damaged = {
        "cut.parquet": data[: len(data) // 2],
        "tail.parquet": data[:-9],
        "noise.parquet": b"PAR1" + b"\x00" * 100 + b"PAR1",
        "cut.jsonl.gz": packed[: len(packed) // 2],
    }
    for name, content in damaged.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputDataError, match=r"cannot be read; it may be truncated") as raised:
            night(tmp_path / name, warehouse, registry)
        assert name in str(raised.value)
    # The first file is readable, so its rows may be staged before Spark meets the damaged file.
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.parquet").write_bytes(data)
    middle = len(data) // 4
    (folder / "b.parquet").write_bytes(data[:middle] + bytes(200) + data[middle + 200 :])
    with pytest.raises(InputDataError, match=r"b\.parquet cannot be read"):
        night(folder, warehouse, registry)
    assert not [path for run in live_runs(warehouse) for path in (warehouse / "runs" / run).rglob("*.parquet")]
    with pytest.raises(TlnlpError):
        rows(warehouse, "select * from scores")


def test_csv_files_of_one_folder_must_agree(registry: Path, warehouse: Path, tmp_path: Path) -> None:
    headers = tmp_path / "headers"
    headers.mkdir()
    (headers / "a.csv").write_text("id,text\n1,good\n")
    (headers / "b.csv").write_text("body,id\nbad,2\n")
    with pytest.raises(InputDataError, match=r"b\.csv: has no column 'text' \(it has: body, id\)"):
        night(headers, warehouse, registry)
    (headers / "b.csv").write_text("text,id\nbad,2\n")
    assert counts(night(headers, warehouse, registry, csv={"multiline": False}))["rows_scored"] == 2


def test_an_empty_input_publishes_nothing(registry: Path, warehouse: Path, tmp_path: Path) -> None:
    write_parquet(tmp_path / "no_rows.parquet", [], id=pa.string())
    schema = pa.schema([("id", pa.string()), ("text", pa.string())])
    pq.write_table(schema.empty_table(), tmp_path / "no_rows.parquet")
    for name, content in (
        ("nothing.jsonl", ""),
        ("lines.jsonl", "\n \n"),
        ("nothing.csv", ""),
        ("header.csv", "id,text\n"),
    ):
        (tmp_path / name).write_text(content)
    for path in sorted(path for path in tmp_path.iterdir() if path.is_file()):
        with pytest.raises(NothingToPublishError, match="the input holds no documents; nothing was published"):
            night(path, warehouse, registry)
    assert live_runs(warehouse) == set()


def test_the_helper_makes_a_string_that_is_not_utf8() -> None:
    with pytest.raises(UnicodeDecodeError):
        broken_string(b"caf\xe9").to_pylist()
