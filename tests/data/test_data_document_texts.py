"""Texts are found again by the ids of their documents, in every format, and only the very texts that were asked for."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tlnlp.data.csv_records import CsvDialect
from tlnlp.data.document_texts import DocumentFiles, find_texts
from tlnlp.data.text import text_sha256
from tlnlp.errors import InputDataError

TEXTS = {f"d{number}": f'text "{number}",\nin two lines' for number in range(5000)}
WANTED = {name: text_sha256(TEXTS[name]) for name in ("d0", "d2500", "d4999")}
Rows = Sequence[Mapping[str, Any]]


def write_parquet(folder: Path, rows: Rows) -> None:
    pq.write_table(pa.Table.from_pylist(list(rows)), folder / "part.parquet", row_group_size=700)


def write_json(folder: Path, rows: Rows) -> None:
    (folder / "part.jsonl").write_text("".join(json.dumps(row, default=str) + "\n" for row in rows))


def write_csv(folder: Path, rows: Rows) -> None:
    with (folder / "part.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


WRITERS: dict[str, Callable[[Path, Rows], None]] = {"parquet": write_parquet, "json": write_json, "csv": write_csv}


@pytest.mark.parametrize("kind", WRITERS)
def test_texts_are_found_in_every_format(tmp_path: Path, kind: str) -> None:
    WRITERS[kind](tmp_path, [{"other": 1, "id": name, "text": text} for name, text in TEXTS.items()])
    found = find_texts(DocumentFiles(str(tmp_path)), WANTED, 60)
    assert found.texts == {name: TEXTS[name] for name in WANTED}
    assert found.is_complete


@pytest.mark.parametrize("kind", WRITERS)
def test_the_search_ends_when_all_texts_are_found(tmp_path: Path, kind: str) -> None:
    WRITERS[kind](tmp_path, [{"id": name, "text": text} for name, text in TEXTS.items()])
    found = find_texts(DocumentFiles(str(tmp_path)), {"d3": text_sha256(TEXTS["d3"])}, 60)
    assert found.rows < 2000


@pytest.mark.parametrize("kind", WRITERS)
def test_the_search_ends_in_time_and_says_so(tmp_path: Path, kind: str) -> None:
    WRITERS[kind](tmp_path, [{"id": name, "text": text} for name, text in TEXTS.items()])
    found = find_texts(DocumentFiles(str(tmp_path)), {"d4999": text_sha256(TEXTS["d4999"])}, 0)
    assert not found.is_complete
    assert not found.texts
    assert 0 < found.rows < 5000


@pytest.mark.parametrize("kind", WRITERS)
def test_another_text_of_the_id_is_not_shown(tmp_path: Path, kind: str) -> None:
    WRITERS[kind](tmp_path, [{"id": "d1", "text": "new text"}, {"id": "d2", "text": "same"}])
    found = find_texts(DocumentFiles(str(tmp_path)), {"d1": text_sha256("old"), "d2": text_sha256("same")}, 60)
    assert found.texts == {"d2": "same"}
    assert found.changed == {"d1"}


@pytest.mark.parametrize(
    ("value", "shown"), [(12, "12"), (12.0, "12"), (True, "true"), (date(2026, 1, 31), "2026-01-31"), (None, "None")]
)
@pytest.mark.parametrize("kind", ["parquet", "json"])
def test_an_id_that_is_no_text_is_found_by_its_text(tmp_path: Path, kind: str, value: object, shown: str) -> None:
    WRITERS[kind](tmp_path, [{"id": value, "text": "a text"}])
    found = find_texts(DocumentFiles(str(tmp_path)), {shown: text_sha256("a text")}, 60)
    assert found.texts == ({} if value is None else {shown: "a text"})


def test_files_are_read_as_the_settings_of_the_night_say(tmp_path: Path) -> None:
    (tmp_path / "part.csv").write_bytes("nr;body\n7;Größe\n".encode("latin-1"))
    files = DocumentFiles(str(tmp_path), "nr", "body", "csv", CsvDialect(delimiter=";"), "latin-1")
    assert find_texts(files, {"7": text_sha256("Größe")}, 60).texts == {"7": "Größe"}


@pytest.mark.parametrize("kind", WRITERS)
def test_a_missing_column_is_reported(tmp_path: Path, kind: str) -> None:
    WRITERS[kind](tmp_path, [{"id": "d1", "body": "x"}])
    with pytest.raises(InputDataError, match="has no column 'text'"):
        find_texts(DocumentFiles(str(tmp_path)), WANTED, 60)
