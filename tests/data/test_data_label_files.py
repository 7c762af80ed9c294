"""Tests of labelled sets: files that cannot be read, wholly or in part; folders; columns."""

from __future__ import annotations

import json
from pathlib import Path

import kit
import pyarrow as pa
import pyarrow.parquet
import pytest
from labels_kit import ANY, faults, rows_of, write

from tlnlp.data.labels import LabelContract, read_labels
from tlnlp.data.pool import read_pool
from tlnlp.errors import InputDataError
from tlnlp.storage import resolve_uri


def test_wrong_encoding_by_row_in_csv(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("text,label\nbread,a\ncaf\xe9,a\nboots,b\n\xfcber,b\n".encode("latin-1"))
    found = read_labels(str(path), ANY)
    assert faults(found) == [("a.csv", 2, "wrong encoding"), ("a.csv", 4, "wrong encoding")]
    assert "UTF-8" in found.faults[0].detail
    assert found.texts == ["bread", "boots"]
    assert found.rows == 4


def test_wrong_encoding_by_line_in_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    lines = [json.dumps(row, ensure_ascii=False) for row in rows_of(("bread", "a"), ("café", "a"), ("boots", "b"))]
    path.write_bytes("\n".join(lines).encode("latin-1"))
    assert faults(read_labels(str(path), ANY)) == [("a.jsonl", 2, "wrong encoding")]


def test_wrong_encoding_inside_parquet(tmp_path: Path) -> None:
    texts = pa.array([b"bread", b"caf\xe9", b"boots"]).view(pa.string())
    pyarrow.parquet.write_table(pa.table({"text": texts, "label": ["a", "a", "b"]}), tmp_path / "a.parquet")
    assert faults(read_labels(str(tmp_path / "a.parquet"), ANY)) == [("a.parquet", 2, "wrong encoding")]


def test_half_a_surrogate_pair_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "bread \\ud83d", "label": "a"}\n{"text": "boots \\ud83d\\ude00", "label": "a"}\n')
    found = read_labels(str(path), ANY)
    assert faults(found) == [("a.jsonl", 1, "not text")]
    assert found.texts == ["boots \U0001f600"]


def test_a_label_that_is_no_text_is_a_fault(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "bread", "label": "a\\ud83d"}\n{"text": "boots", "label": "a\\u0000"}\n')
    assert faults(read_labels(str(path), ANY)) == [("a.jsonl", 1, "not a label"), ("a.jsonl", 2, "not a label")]


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_a_byte_order_mark_is_passed_over(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, rows_of(("bread", "a"), ("boots", "b")))
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read_labels(str(path), ANY).faults == ()


def test_bad_records_of_csv_keep_the_numbers_of_the_others(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('text,label\n"two\nlines",a\nbread,a,b\n,a\nboots\nferry,b\n')
    found = read_labels(str(path), ANY)
    assert faults(found) == [
        ("a.csv", 2, "unreadable row"),
        ("a.csv", 3, "empty text"),
        ("a.csv", 4, "unreadable row"),
    ]
    assert [(example.row, example.text) for example in found.examples] == [(1, "two\nlines"), (5, "ferry")]


def test_faults_of_csv_say_the_line_too(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(
        b'text,label\r\n"two\r\nlines",a\r\n\r\n,a\r\n"three\n\nlines",a\r\n"x" y,a\r\nbread,a\r\nbread,a\r\n'
    )
    found = read_labels(str(path), ANY)
    assert [(fault.row, fault.line, fault.kind) for fault in found.faults] == [
        (2, 5, "empty text"),
        (4, 9, "unreadable row"),
        (6, 11, "duplicate"),
    ]
    assert "a.csv, row 2 (line 5): empty text" in str(found.faults[0])
    lines = write(tmp_path / "a.jsonl", rows_of(("", "a")))
    assert "a.jsonl, row 1: empty text" in str(read_labels(str(lines), ANY).faults[0])


def test_lines_that_are_no_records_of_json(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "bread", "label": "a"}\n\n[1, 2]\n{"text": "boots", "lab')
    found = read_labels(str(path), ANY)
    assert faults(found) == [("a.jsonl", 3, "unreadable row"), ("a.jsonl", 4, "unreadable row")]


@pytest.mark.parametrize("name", ["b.parquet", "b.jsonl.gz", "b.csv.gz"])
def test_a_truncated_file_is_a_fault_beside_the_others(tmp_path: Path, name: str) -> None:
    write(tmp_path / "set/a.jsonl", rows_of(("bread", ""), ("boots", "a")))
    cut = write(tmp_path / "set" / name, kit.labelled(200, 3))
    cut.write_bytes(cut.read_bytes()[:-200])
    found = read_labels(str(tmp_path / "set"), ANY)
    assert faults(found) == [("a.jsonl", 1, "empty label"), (name, 0, "unreadable file")]
    assert "truncated" in found.faults[1].detail
    assert found.texts == ["boots"]


@pytest.mark.parametrize(("name", "content"), [("a.csv", b'"text'), ("a.jsonl", b"[1,\n2]\n"), ("a.parquet", b"PAR1")])
def test_a_file_that_is_not_what_its_name_says(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert faults(read_labels(str(tmp_path / name), ANY)) == [(name, 0, "unreadable file")]


# --- folders and columns


def test_a_folder_is_read_in_the_order_of_names_and_compared_across_files(tmp_path: Path) -> None:
    write(tmp_path / "set/part-2.csv", rows_of(("bread", "b"), ("night", "a")))
    write(tmp_path / "set/part-1.jsonl", rows_of(("bread", "a"), ("boots", "a")))
    write(tmp_path / "set/deep/part-3.parquet", rows_of(("boots", "a"), ("ferry", "b")))
    for name in ("_SUCCESS", ".part-1.jsonl.crc", "_temporary/0/part-9.jsonl"):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / name).write_bytes(b"not for reading")
    found = read_labels(str(tmp_path / "set"), ANY)
    assert found.rows == 6
    assert faults(found) == [
        ("part-1.jsonl", 1, "conflicting labels"),
        ("part-1.jsonl", 2, "duplicate"),
        ("part-2.csv", 1, "conflicting labels"),
    ]
    conflict = next(fault for fault in found.faults if fault.kind == "conflicting labels")
    assert conflict.detail.endswith("part-2.csv, row 1")


def test_folders_named_like_files_or_like_hidden_ones(tmp_path: Path) -> None:
    for folder in ("labels.parquet", "_labels", ".labels"):
        write(tmp_path / folder / "part-0.parquet", rows_of(("bread", "a")))
        assert read_labels(str(tmp_path / folder), ANY).texts == ["bread"]
        assert read_labels(f"{resolve_uri(str(tmp_path / folder))}/", ANY).texts == ["bread"]


def test_digest_follows_the_bytes(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", rows_of(("bread", "a")))
    before = read_labels(str(path), ANY).digest
    assert read_labels(str(path), ANY).digest == before
    write(path, rows_of(("bread", "b")))
    assert read_labels(str(path), ANY).digest != before


@pytest.mark.parametrize("name", ["a.parquet", "a.jsonl", "a.csv"])
def test_columns_are_configurable(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, [{"text": 1, "review": "bread", "mood": "a"}])
    found = read_labels(str(path), LabelContract("review", "mood", min_per_class=1))
    assert found.texts == ["bread"]
    with pytest.raises(InputDataError, match=r"has no column 'label' \(it has: text, review, mood\).*label_column="):
        read_labels(str(path), ANY)


def test_two_columns_of_one_name(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,text,label\na,b,c\n")
    with pytest.raises(InputDataError, match="has 2 columns 'text'"):
        read_labels(str(tmp_path / "a.csv"), ANY)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(InputDataError, match="nothing is there; check the path"):
        read_labels(str(tmp_path / "nowhere"), ANY)
    with pytest.raises(InputDataError, match="nothing is there; check the path"):
        read_labels(str(tmp_path / "nowhere.csv"), ANY)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/readme.txt").write_text("hello")
    with pytest.raises(InputDataError, match=r"no file there ends in \.parquet"):
        read_labels(str(tmp_path / "notes"), ANY)
    with pytest.raises(InputDataError, match=r"no file there ends in \.parquet"):
        read_labels(str(tmp_path / "notes/readme.txt"), ANY)


@pytest.mark.parametrize("name", ["a.parquet", "a.jsonl", "a.csv"])
def test_a_missing_column_names_those_of_the_file_and_the_nearest(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, [{"number": "1", "Text": "bread", "labels": "a"}])
    with pytest.raises(InputDataError) as caught:
        read_labels(str(path), ANY)
    assert "has no column 'text' (it has: number, Text, labels); did you mean 'Text'?; set the names" in str(
        caught.value
    )
    with pytest.raises(InputDataError, match=r"has no column 'label' .*; did you mean 'labels'\?"):
        read_labels(str(path), LabelContract(text_column="Text"))
    with pytest.raises(InputDataError, match=r"it has: number, Text, labels\); set the names"):
        read_labels(str(path), LabelContract(text_column="body"))
    with pytest.raises(InputDataError, match=r"has no column 'text' .*; did you mean 'Text'\?"):
        read_pool(str(path), "text", 5, 0, ())


@pytest.mark.parametrize("name", ["a.parquet", "a.jsonl", "a.csv", "several"])
def test_an_empty_set_is_refused_in_one_sentence(tmp_path: Path, name: str) -> None:
    for file in (name,) if name != "several" else ("several/a.csv", "several/b.jsonl"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_bytes(b"" if name.endswith("t") else b"\n\n")
    with pytest.raises(InputDataError) as caught:
        read_labels(str(tmp_path / name), ANY)
    assert str(caught.value) == (
        f"{tmp_path / name}: there are no labels: the input is empty: write texts to the column 'text' and their "
        "labels to 'label'"
    )


@pytest.mark.parametrize("name", ["a.parquet", "a.csv"])
def test_a_set_of_columns_without_rows_is_refused_in_one_sentence(tmp_path: Path, name: str) -> None:
    table = pa.table({"text": pa.array([], pa.string()), "label": pa.array([], pa.string())})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    (tmp_path / "a.csv").write_text("text,label\n")
    with pytest.raises(
        InputDataError, match="there are no labels: it has columns, but no rows: write texts to the col"
    ):
        read_labels(str(tmp_path / name), ANY)
