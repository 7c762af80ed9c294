"""What Spark finds in the random tables of ``generated_tables``."""

from __future__ import annotations

import tempfile
from pathlib import Path

from generated_tables import Table
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from tlnlp.config import ScoreSettings
from tlnlp.data.values import value_text
from tlnlp.score.contract import kept_name
from tlnlp.score.source import read_documents

Found = tuple[str, str, float | None, str | None]


def check(spark: SparkSession, table: Table) -> None:
    """Check that a night finds all rows of the table, with their ids, texts and kept values, and no others."""
    is_partitioned = table.files[0].startswith("day=")
    keep = ("price", "day") if is_partitioned else ("price",)
    with tempfile.TemporaryDirectory(prefix="generated ") as folder:
        uri = str(table.write(Path(folder)))
        settings = ScoreSettings(documents=uri, score_date="2026-11-23", keep_columns=keep)
        documents = read_documents(spark, settings)
        kept = [kept_name(number) for number in range(len(keep))]
        rows = documents.frame.select("document_id", F.col("text").cast("binary"), *kept, "fault").collect()
    assert [row["fault"] for row in rows] == [None] * len(table.rows)
    found = [
        (row[0], bytes(row[1] or b"").decode(), _number(row[2]), row[3] if is_partitioned else None) for row in rows
    ]
    assert sorted(found, key=str) == sorted(_expected(table), key=str)
    assert documents.rows in (None, len(table.rows))


def _expected(table: Table) -> list[Found]:
    folders = [name.partition("/")[0].partition("day=")[2] or None for name in table.files]
    return [
        (value_text(row.id) or "", row.text or "", row.price, folders[number % len(folders)])
        for number, row in enumerate(table.rows)
    ]


def _number(value: object) -> float | None:
    return None if value in (None, "") else float(str(value))
