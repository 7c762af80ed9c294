"""Tests of finding the texts of single documents, in each format."""

from __future__ import annotations

from pathlib import Path

import kit
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tlnlp.data.csv_records import CsvDialect
from tlnlp.data.document_texts import DocumentFiles, texts_by_id
from tlnlp.errors import InputDataError

ROWS = [(7, "Warm bread."), (8, "A cold pier."), (7, "Warm bread."), (9, "Rye."), (9, "Another rye."), (10, None)]


def write(folder: Path, form: str) -> Path:
    """Write the rows in two files; the second one of Parquet holds ids as floats."""
    folder.mkdir()
    for part, rows in (("one", ROWS[:3]), ("two", ROWS[3:])):
        ids, texts = [row[0] for row in rows], [row[1] for row in rows]
        if form == "parquet":
            kind = pa.int64() if part == "one" else pa.float64()
            pq.write_table(pa.table({"id": pa.array(ids, kind), "text": texts}), folder / f"{part}.parquet")
        elif form == "jsonl":
            kit.write_jsonl(folder / f"{part}.jsonl", [{"id": one, "text": text} for one, text in rows])
        else:
            lines = [f'{one};"{text or ""}"' for one, text in rows]
            (folder / f"{part}.csv").write_text("\n".join(["id;text", *lines, 'broken;"x"x', ""]))
    (folder / f"empty.{form}").touch()
    return folder


@pytest.mark.parametrize("form", ["parquet", "jsonl", "csv"])
def test_texts_are_found_by_id_in_all_files(tmp_path: Path, form: str) -> None:
    files = DocumentFiles(str(write(tmp_path / "documents", form)), csv=CsvDialect(delimiter=";"))
    found = texts_by_id(files, {"7", "9", "none", "broken"})
    assert found == {"7": ("Warm bread.",), "9": ("Rye.", "Another rye.")}
    assert texts_by_id(files, {"10"}) == ({"10": ("",)} if form == "csv" else {})
    assert texts_by_id(files, []) == {}


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    kit.write_jsonl(tmp_path / "documents.jsonl", [{"key": 1, "text": "Rye."}])
    files = DocumentFiles(str(tmp_path / "documents.jsonl"))
    with pytest.raises(InputDataError, match=r"no column 'id' .*--set id_column="):
        texts_by_id(files, ["1"])
    assert texts_by_id(DocumentFiles(files.uri, id_column="key"), ["1"]) == {"1": ("Rye.",)}
