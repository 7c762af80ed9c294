"""Lines in Spark: where a faulty record stands, and CSV files that are read in splits."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from score_kit import counts, night, rows

from tlnlp.config import ScoreSettings
from tlnlp.errors import InputDataError
from tlnlp.score.source import read_documents
from tlnlp.score.source_files import find_files

pytestmark = pytest.mark.usefixtures("spark")


def test_the_quarantine_says_where_a_record_stands(registry: Path, warehouse: Path, tmp_path: Path) -> None:
    lines = [
        b"id,text",
        b"1,good bread",
        b'2,"never closed',
        b"caf\xe9,good",
        b"caf\xe8,bad",
        b"3,",
        b"4,bad boots",
        b"",
    ]
    (tmp_path / "a.csv").write_bytes(b"\n".join(lines))
    result = night(tmp_path / "a.csv", warehouse, registry, max_quarantine_share=0.9)
    assert (counts(result)["rows_in"], counts(result)["rows_quarantined"]) == (6, 4)
    found = rows(warehouse, "select document_id, reason, detail from quarantine order by detail")
    assert [(row["document_id"], row["reason"]) for row in found] == [
        (None, "malformed_record"),
        (r"caf\xe9", "missing_id"),
        (r"caf\xe8", "missing_id"),
        ("3", "empty_text"),
    ]
    places = [row["detail"].partition(":")[0] for row in found]
    assert places == ["row 2 (line 3)", "row 3 (line 4)", "row 4 (line 5)", "the text is empty"]


def test_files_that_spark_may_split_and_whose_headers_differ(spark: SparkSession, tmp_path: Path) -> None:
    texts = [f"warm bread {number}" for number in range(400)]
    (tmp_path / "a.csv").write_text("id,text\n" + "".join(f"a{n},{text}\n" for n, text in enumerate(texts)))
    (tmp_path / "b.csv").write_text("n,text,id\n" + "".join(f"7,{text},b{n}\n" for n, text in enumerate(texts)))
    keys = {f"spark.sql.files.{key}": "2000" for key in ("maxPartitionBytes", "openCostInBytes")}
    before = {key: str(spark.conf.get(key)) for key in keys}
    try:
        for key, value in keys.items():
            spark.conf.set(key, value)
        settings = ScoreSettings(documents=str(tmp_path), score_date="2026-11-23", csv={"multiline": False})
        frame = read_documents(spark, settings).frame
        found = [(row["document_id"], row["text"]) for row in frame.collect()]
    finally:
        for key, value in before.items():
            spark.conf.set(key, value)
    assert sorted(found) == sorted((f"{name}{n}", text) for name in "ab" for n, text in enumerate(texts))


def test_a_local_file_with_a_colon_in_its_name_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "a:b.jsonl").write_text('{"id": "1", "text": "warm bread"}\n')
    settings = ScoreSettings(documents=str(tmp_path), score_date="2026-11-23")
    with pytest.raises(InputDataError, match=r"a:b\.jsonl: Spark cannot open a local file with a colon in its name"):
        find_files(settings, ["id", "text"])
