"""The outcome of each input row: every quarantine reason, duplicates, and the counts of a night."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import DataFrame, SparkSession
from score_kit import COUNTS, broken_string, counts, ledger, night, reasons, rows, write_parquet

from tlnlp.data.text import CUT_MARK, cut, text_sha256
from tlnlp.score.contract import Limits, PreviousScores, bucket_count, cut_expression, prepare_rows

pytestmark = pytest.mark.usefixtures("spark")

CANARY = "a sentence that only the document may hold"
LIMITS = Limits(max_bytes=200, max_chars=60)
# Pairs of an id and a text.
Rows = list[tuple[str | None, str | None]]


def frame(spark: SparkSession, texts: Rows) -> DataFrame:
    listed = [(identifier, text, "file:/x", None) for identifier, text in texts]
    return spark.createDataFrame(listed, "document_id string, text string, source string, fault string")


def outcomes(spark: SparkSession, texts: Rows) -> dict[str | None, str]:
    """Return the quarantine reason by id, or the outcome of a row without a reason."""
    prepared = prepare_rows(frame(spark, texts), LIMITS, PreviousScores()).select("document_id", "reason", "outcome")
    return {row["document_id"]: row["reason"] or row["outcome"] for row in prepared.collect()}


def test_every_reason_that_a_text_can_have(spark: SparkSession) -> None:
    given = {
        "null": (None, "null_text"),
        "empty": ("", "empty_text"),
        "spaces": ("   ", "blank_text"),
        "lines": ("\n\t\r\n", "blank_text"),
        "breaks": (" <br>\u2003<BR\u00a0/>\n<br/>", "blank_text"),
        "break and word": ("<br>word", "score"),
        "no break": ("<brr>", "score"),
        "wide": ("\u00a0\u2003\u3000\u2028\u0085", "blank_text"),
        "nul": ("good\x00bread", "not_text"),
        "controls": ("\x01\x02\x03 good", "not_text"),
        "replaced": ("\ufffd\ufffd good", "not_text"),
        "long": ("a" * 201, "over_max_bytes"),
        "long bytes": ("é" * 101, "over_max_bytes"),
        "just": ("a" * 200, "score"),
        "one control": ("good bread\x07, warm and fresh", "score"),
        "zero width": ("\u200b", "score"),
        "emoji": ("\U0001f35e", "score"),
        "padded": ("  good \n", "score"),
    }
    actual = outcomes(spark, [(name, text) for name, (text, _) in given.items()])
    assert actual == {name: wanted for name, (_, wanted) in given.items()}


@pytest.mark.parametrize("identifier", [None, "", "  ", "\t\n", "\u00a0\u3000"])
def test_a_row_without_an_id_is_quarantined(spark: SparkSession, identifier: str | None) -> None:
    assert outcomes(spark, [(identifier, "good bread")]) == {identifier: "missing_id"}


def test_rows_of_one_chunk_are_split_into_few_buckets() -> None:
    counts = (None, 0, 4_000, 25_000, 200_000, 200_001)
    assert [bucket_count(rows, chunk_rows=200_000) for rows in counts] == [64, 1, 1, 10, 64, 64]


def test_conflicting_ids_are_quarantined_and_faulty_rows_cause_no_conflict(spark: SparkSession) -> None:
    given: Rows = [
        ("a", "one"), ("a", "two"), ("a", "one"), ("b", "same"), ("b", None), ("c", "same"), ("c", "same"),
    ]  # fmt: skip
    prepared = prepare_rows(frame(spark, given), LIMITS, PreviousScores()).collect()
    by_id: dict[str, list[str]] = {}
    for row in prepared:
        by_id.setdefault(row["document_id"], []).append(row["reason"] or row["outcome"])
    assert by_id["a"] == ["conflicting_id"] * 3
    assert sorted(by_id["b"]) == ["null_text", "score"]
    assert sorted(by_id["c"]) == ["duplicate", "score"]


def test_only_texts_to_be_scored_are_staged(spark: SparkSession) -> None:
    given: Rows = [("a", "one"), ("a", "two"), ("b", "x" * 201), ("c", "same"), ("c", "same"), ("d", "fine")]
    prepared = prepare_rows(frame(spark, given), LIMITS, PreviousScores()).collect()
    assert {row["text"] for row in prepared} == {None, "same", "fine"}
    assert sum(row["text"] is not None for row in prepared) == 2


def test_spark_cuts_and_hashes_texts_as_python_does(spark: SparkSession) -> None:
    base = "naïve \U0001f600 日本語 e\u0301 \u200d<br />"
    texts = ["x", base, *["ab\U0001f35e" * 40][:1]]
    texts += ["é\U0001f600"[number % 2] * number for number in range(56, 66)]
    texts += [("w\u0308 \U0001f468\u200d\U0001f469 " * 30)[:length] for length in (59, 60, 61, 62, 119)]
    data = spark.createDataFrame([(number, text) for number, text in enumerate(texts)], "number int, text string")
    for max_chars in (60, 61, 8):
        shortened = {
            row["number"]: row["cut"] for row in data.select("number", cut_expression(max_chars).alias("cut")).collect()
        }
        assert shortened == {number: cut(text, max_chars) for number, text in enumerate(texts)}
        assert max(map(len, shortened.values())) == max_chars
        assert any(CUT_MARK in text for text in shortened.values())
    prepared = prepare_rows(
        frame(spark, [(str(n), text) for n, text in enumerate(texts)]), Limits(10**6, 60), PreviousScores()
    )
    hashes = {row["document_id"]: (row["text_sha256"], row["text"]) for row in prepared.collect()}
    assert hashes == {str(n): (text_sha256(text), cut(text, 60)) for n, text in enumerate(texts)}


def test_a_night_of_faults_in_json_lines(registry: Path, warehouse: Path, tmp_path: Path) -> None:
    def line(**fields: Any) -> bytes:
        return json.dumps(fields).encode()

    lines = [
        line(id="fine", text="good bread"),
        line(id="same text", text="good bread"),
        line(id="twice", text="warm boots"),
        line(id="twice", text="warm boots"),
        line(id="cut off", text=CANARY)[:-3],
        b"[1, 2]",
        b"null",
        line(id="two in a line", text=CANARY) + line(id="second", text=CANARY),
        line(id="trailing", text=CANARY) + b" and more",
        line(text=CANARY),
        line(id="number", text=17),
        line(id="object", text={"inner": CANARY}),
        line(id="truth", text=True),
        line(id="null", text=None),
        line(id="no text"),
        line(id="empty", text=""),
        line(id="blank", text="\u2003 \n"),
        line(id="nul", text=f"{CANARY}\x00"),
        b'{"id": "latin", "text": "caf\xe9 and more"}',
        line(id="long", text=CANARY * 40),
        line(id="conflict", text=CANARY),
        line(id="conflict", text=CANARY + "!"),
        b"",
        b" \t ",
    ]
    source = tmp_path / "documents.jsonl"
    source.write_bytes(b"\xef\xbb\xbf" + b"\n".join(lines) + b"\n")
    result = night(source, warehouse, registry, max_quarantine_share=1.0, max_bytes=1000)
    assert counts(result) == dict(zip(COUNTS, (22, 3, 0, 1, 18, 2), strict=True))
    saved = ledger(warehouse, result.run_id)
    assert {name: saved["counts"][name] for name in COUNTS} == counts(result)
    assert saved["status"] == "succeeded"
    published = rows(warehouse, "select document_id, run_id, text_sha256 from scores order by 1")
    assert [row["document_id"] for row in published] == ["fine", "same text", "twice"]
    assert published[0]["text_sha256"] == published[1]["text_sha256"] == text_sha256("good bread")
    rejected = rows(warehouse, "select * from quarantine")
    by_reason: dict[str, set[str | None]] = {}
    for row in rejected:
        by_reason.setdefault(row["reason"], set()).add(row["document_id"])
        assert row["detail"]
        assert row["source"].endswith("/documents.jsonl")
        assert row["run_id"] == result.run_id
        assert str(row["score_date"]) == "2026-11-23"
    assert by_reason.pop("malformed_record") >= {None}
    assert by_reason == {
        "missing_id": {None},
        "not_text": {"number", "object", "truth", "nul", "latin"},
        "null_text": {"null", "no text"},
        "empty_text": {"empty"},
        "blank_text": {"blank"},
        "over_max_bytes": {"long"},
        "conflicting_id": {"conflict"},
    }
    assert sum(row["reason"] == "malformed_record" for row in rejected) == 5
    assert sum(row["reason"] == "conflicting_id" for row in rejected) == 2
    assert CANARY not in json.dumps(rejected, default=str)
    assert CANARY not in json.dumps(saved)


def test_faults_in_csv(registry: Path, warehouse: Path, tmp_path: Path) -> None:
    source = tmp_path / "documents.csv"
    source.write_text(
        'id,text\n1,"good, warm\nbread"\n2,bad,third\n3\n4,\n,no id\n5,"say ""never"""\n', encoding="utf-8"
    )
    result = night(source, warehouse, registry, max_quarantine_share=1.0)
    assert counts(result) == dict(zip(COUNTS, (6, 2, 0, 0, 4, 2), strict=True))
    assert reasons(warehouse) == {
        "2": "malformed_record",
        "3": "malformed_record",
        "4": "empty_text",
        "": "missing_id",
    }
    assert {row["text_sha256"] for row in rows(warehouse, "select text_sha256 from scores")} == {
        text_sha256("good, warm\nbread"),
        text_sha256('say "never"'),
    }


def test_binary_parquet_columns_that_are_not_text(registry: Path, warehouse: Path, tmp_path: Path) -> None:
    folder = tmp_path / "documents"
    binary = [
        ("fine", "bread é".encode()),
        ("latin", b"caf\xe9"),
        ("nul", b"a\x00b"),
        ("picture", b"\x89PNG\r\n\x1a\n"),
    ]
    write_parquet(folder / "a.parquet", [{"id": i, "text": text} for i, text in binary], text=pa.binary())
    result = night(folder, warehouse, registry, max_quarantine_share=1.0)
    assert counts(result)["rows_quarantined"] == 3
    assert reasons(warehouse) == dict.fromkeys(("latin", "nul", "picture"), "not_text")
    assert rows(warehouse, "select text_sha256 from scores") == [{"text_sha256": text_sha256("bread é")}]


def test_string_columns_that_are_not_utf8(registry: Path, warehouse: Path, tmp_path: Path) -> None:
    folder = tmp_path / "documents"
    folder.mkdir()
    good, bad = pa.array(["fine"]), broken_string(b"caf\xe9")
    for name, identifier, text, item in (
        ("text", pa.array(["text"]), bad, good),
        ("id", bad, good, good),
        ("other id", pa.array([b"caf\xe8 \\~"]), good, good),
        ("item", pa.array(["item"]), good, bad),
    ):
        pa.parquet.write_table(pa.table({"id": identifier, "text": text, "item": item}), folder / f"{name}.parquet")
    night(folder, warehouse, registry, max_quarantine_share=1.0, keep_columns="item")
    assert reasons(warehouse) == {"text": "not_text", "caf\\xe9": "missing_id", r"caf\xe8 \x5c~": "missing_id"}
    assert rows(warehouse, "select document_id, item from scores") == [{"document_id": "item", "item": "caf\ufffd"}]
