"""One behaviour of all readers: Spark finds in each case what labels and unlabelled documents find."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import kit
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from reader_cases import CASES
from reader_kit import DAMAGED, ENCODING, MALFORMED, NO_TEXT, NOT_TEXT, REFUSED, Case, csv_of

from tlnlp.config import ScoreSettings
from tlnlp.data.csv_records import CsvDialect
from tlnlp.data.rows import read_rows
from tlnlp.data.tables import source_files
from tlnlp.data.text import is_blank, is_text
from tlnlp.errors import InputDataError, NothingToPublishError
from tlnlp.score.contract import Limits, PreviousScores, prepare_rows
from tlnlp.score.session import spark_errors
from tlnlp.score.source import read_documents

KINDS = {
    "malformed_record": MALFORMED,
    "not_text": NOT_TEXT,
    "null_text": NO_TEXT,
    "empty_text": NO_TEXT,
    "blank_text": NO_TEXT,
}
Raw = tuple[bytes | None, str | None]


def settings_of(case: Case, folder: Path, **more: Any) -> ScoreSettings:
    identifier, text, _ = case.columns
    keys: dict[str, Any] = {"id_column": identifier, "text_column": text, "csv": case.csv}
    keys |= {"format": case.format, "encoding": case.encoding}
    return ScoreSettings(documents=str(case.write(folder)), score_date="2026-11-23", **(keys | more))


def raw_rows(spark: SparkSession, settings: ScoreSettings) -> list[Raw]:
    """Return the bytes of the text and the fault of each row."""
    frame = read_documents(spark, settings).frame
    with spark_errors(settings.documents):
        return [tuple(row) for row in frame.select(F.col("text").cast("binary"), "fault").collect()]


def decided(spark: SparkSession, rows: Iterable[tuple[int, *Raw]]) -> dict[int, list[str]]:
    """Return what the contract makes of rows, by their number: the texts to be scored, and the kinds of fault."""
    given = [(number, None if text is None else bytearray(text), fault) for number, text, fault in rows]
    frame = spark.createDataFrame(given, "_kept_0 int, body binary, fault string")
    frame = frame.select(
        F.monotonically_increasing_id().cast("string").alias("document_id"),
        F.col("body").cast("string").alias("text"),
        F.lit("file").alias("source"),
        "fault",
        "_kept_0",
    )
    found: dict[int, list[str]] = {}
    prepared = prepare_rows(frame, Limits(10**6, 10**5), PreviousScores())
    for number, text, reason in prepared.select("_kept_0", "text", "reason").collect():
        found.setdefault(number, []).append(text if reason is None else KINDS[reason])
    return found


def test_every_case(spark: SparkSession, tmp_path: Path) -> None:
    rows: list[tuple[int, *Raw]] = []
    refused: dict[int, str] = {}
    for number, case in enumerate(CASES):
        settings = settings_of(case, tmp_path / str(number))
        try:
            rows += [(number, *row) for row in raw_rows(spark, settings)]
        except (InputDataError, NothingToPublishError) as error:
            refused[number] = str(error)
    found = decided(spark, rows)
    for number, case in enumerate(CASES):
        wanted = case.rows if case.spark is None else [case.spark]
        if wanted == [REFUSED]:
            assert number in refused, case.name
            assert re.search(case.says, refused[number]), (case.name, refused[number])
            continue
        if case.name.endswith(".zst") and not kit.spark_unpacks_zstd():
            assert "a codec that this Spark lacks" in refused[number]
            continue
        assert number not in refused, case.name
        assert DAMAGED not in wanted
        kinds = sorted(NOT_TEXT if row == ENCODING else row for row in wanted)
        assert sorted(found.get(number, [])) == kinds, case.name


def test_one_rule_of_what_is_text(spark: SparkSession) -> None:
    generator = random.Random(0)
    alphabet = "ab\x01\x00\x0b\x1c\x1f\x85\ufffd\n\t \u00a0\u180e\u200b\u3000\U0001f600"
    texts = ["".join(generator.choices(alphabet, k=generator.randint(1, 12))) for _ in range(3000)]
    blank = [*"\t\n\x0b\x1c\x1f\x85 \u00a0\u2003\u2028\u3000", "<br>", "<Br\u2003/>"]
    texts += ["".join(generator.choices(blank, k=generator.randint(1, 30))) for _ in range(1000)]
    texts.append("<br>" * 50_000)
    found = decided(spark, [(number, text.encode(), None) for number, text in enumerate(texts)])
    for number, text in enumerate(texts):
        assert found[number] == [NO_TEXT if is_blank(text) else text if is_text(text) else NOT_TEXT]


@pytest.mark.parametrize("multiline", [True, False])
def test_a_file_that_spark_reads_in_many_splits(spark: SparkSession, tmp_path: Path, multiline: bool) -> None:
    generator = random.Random(1)
    lines = ['"two\nlines, ""and""\n\nmore"', "plain text", '"a, b"', "wrong, number", '"broken" quote']
    case = Case("many splits", {"a.csv": csv_of(*generator.choices(lines, k=2000))}, [], csv={"multiline": multiline})
    settings = settings_of(case, tmp_path)
    key, before = "spark.sql.files.maxPartitionBytes", spark.conf.get("spark.sql.files.maxPartitionBytes")
    spark.conf.set(key, "2000")
    try:
        found = raw_rows(spark, settings)
    finally:
        spark.conf.set(key, str(before))
    dialect = CsvDialect(**settings.csv.model_dump())
    (source,) = source_files(settings.documents)
    wanted = [
        (None if row.fault else str(row.values[0]).encode(), "malformed_record" if row.fault else None)
        for row in read_rows(source, ("text",), dialect)
    ]
    assert len(wanted) >= 2000
    actual = [(None if fault else bytes(text or b""), fault) for text, fault in found]
    assert sorted(actual, key=str) == sorted(wanted, key=str)


def test_a_partition_column_that_not_all_files_have(spark: SparkSession, tmp_path: Path) -> None:
    case = Case("mixed", {"day=1/a.csv": csv_of("bread"), "b.csv": csv_of("boots")}, [])
    with pytest.raises(InputDataError, match="column 'day' is in the names of folders"):
        raw_rows(spark, settings_of(case, tmp_path, keep_columns="day"))
    assert len(raw_rows(spark, settings_of(case, tmp_path))) == 2


def test_a_folder_that_names_no_value(spark: SparkSession, tmp_path: Path) -> None:
    case = Case("no value", {"day=/a.csv": csv_of("bread"), "day=1/a.csv": csv_of("boots")}, [])
    with pytest.raises(InputDataError, match=r"day=/a\.csv is in a folder whose name has no value after '='"):
        raw_rows(spark, settings_of(case, tmp_path, keep_columns="day"))
    assert len(raw_rows(spark, settings_of(case, tmp_path))) == 2
