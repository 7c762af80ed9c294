"""Tests of labelled sets: their examples, and all faults by file and row."""

from __future__ import annotations

from pathlib import Path

import kit
import pyarrow as pa
import pyarrow.parquet
import pytest
from labels_kit import ANY, faults, rows_of, write

from tlnlp.data.label_faults import SHOWN_FAULTS
from tlnlp.data.labels import LabelContract, read_labels, require_sound
from tlnlp.errors import LabelFaultsError


@pytest.mark.parametrize("name", ["a.parquet", "a.jsonl", "a.csv", "a.jsonl.gz", "a.csv.gz"])
def test_every_format_gives_the_same_set(tmp_path: Path, name: str) -> None:
    rows = [{"id": 1, "text": 'Warm, "crusty"\nand late — ünïcode', "label": "good"}, *kit.labelled(20, 1)]
    rows = [{"id": str(row["id"]), "text": row["text"], "label": row["label"]} for row in rows]
    found = read_labels(str(write(tmp_path / name, rows)), ANY)
    assert found.faults == ()
    assert found.rows == 21
    assert found.texts == [row["text"] for row in rows]
    assert [example.label for example in found.examples] == [row["label"] for row in rows]
    assert found.classes == ("good", "negative", "positive")
    assert found.counts == {"good": 1, "negative": 10, "positive": 10}
    assert found.targets == [found.classes.index(row["label"]) for row in rows]


@pytest.mark.parametrize("name", ["a.parquet", "a.jsonl", "a.csv"])
def test_all_faults_of_rows_are_found_at_once(tmp_path: Path, name: str) -> None:
    rows = rows_of(
        ("fine bread", "yes"),
        ("cold ferry", "perhaps"),
        ("warm boots", ""),
        ("   ", "yes"),
        ("", "no"),
        ("fine bread", "yes"),
        ("poor night", "yes"),
        ("poor night", "no"),
        ("never\x00again", "no"),
        ("always", "no"),
    )
    found = read_labels(str(write(tmp_path / name, rows)), LabelContract(classes=("no", "yes"), min_per_class=2))
    assert faults(found) == [
        (name, 2, "unknown label"),
        (name, 3, "empty label"),
        (name, 4, "empty text"),
        (name, 5, "empty text"),
        (name, 6, "duplicate"),
        (name, 7, "conflicting labels"),
        (name, 8, "conflicting labels"),
        (name, 9, "not text"),
        (name, 0, "too few examples"),
        (name, 0, "too few examples"),
    ]
    assert found.rows == 10
    assert found.texts == ["fine bread", "always"]
    assert [fault.detail for fault in found.faults[5:7]] == ["'yes' here, 'no' in row 8", "'no' here, 'yes' in row 7"]


@pytest.mark.parametrize("name", ["a.parquet", "a.jsonl"])
def test_null_text_and_null_label(tmp_path: Path, name: str) -> None:
    found = read_labels(str(write(tmp_path / name, rows_of((None, "a"), ("bread", None), ("boots", "a")))), ANY)
    assert faults(found) == [(name, 1, "empty text"), (name, 2, "empty label")]


def test_a_column_of_numbers_is_not_text(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", rows_of((12, "a"), (13, "b")))
    assert [kind for *_, kind in faults(read_labels(str(path), ANY))] == ["not text", "not text"]


def test_a_value_of_another_type_spoils_its_own_row_only(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", rows_of(("bread", "a"), (7, "a"), (["boots"], "b"), ("ferry", "b")))
    found = read_labels(str(path), ANY)
    assert faults(found) == [("a.jsonl", 2, "not text"), ("a.jsonl", 3, "not text")]
    assert found.texts == ["bread", "ferry"]


def test_csv_values_are_taken_as_written(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("label,text\n01,2026\n1,2027\nNA,true\nnull,1.50\n")
    found = read_labels(str(path), ANY)
    assert found.faults == ()
    assert found.texts == ["2026", "2027", "true", "1.50"]
    assert found.classes == ("01", "1", "NA", "null")


@pytest.mark.parametrize(("label", "name"), [(3, "3"), (3.0, "3"), (True, "true"), (" kept apart ", "kept apart")])
def test_labels_are_named_alike_in_every_format(tmp_path: Path, label: object, name: str) -> None:
    for file in ("a.parquet", "a.jsonl"):
        found = read_labels(str(write(tmp_path / file, rows_of(("bread", label)))), ANY)
        assert found.classes == (name,)


def test_not_a_number_is_an_empty_label(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", rows_of(("bread", 1.0), ("boots", float("nan"))))
    assert faults(read_labels(str(path), ANY)) == [("a.parquet", 2, "empty label")]


def test_dictionary_columns_are_text(tmp_path: Path) -> None:
    table = pa.Table.from_pylist(rows_of(("bread", "a"), ("boots", "b")))
    table = table.set_column(1, "label", table.column("label").dictionary_encode())
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    assert read_labels(str(tmp_path / "a.parquet"), ANY).classes == ("a", "b")


# --- handling of faults


def test_a_faulty_set_is_refused_with_the_faults_and_the_way_out(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.jsonl", rows_of(("bread", "a"), ("boots", "b"), *[(f"ferry {i}", "") for i in range(30)])
    )
    with pytest.raises(LabelFaultsError) as caught:
        require_sound(read_labels(str(path), ANY), "fail")
    message = str(caught.value)
    assert caught.value.exit_code == 3
    assert message.startswith(f"{path}: 30 faults in 32 rows; nothing was done\n")
    assert message.count("empty label") == SHOWN_FAULTS
    assert "a.jsonl, row 3: empty label" in message
    assert "and 10 more" in message
    assert "on_fault=skip" in message


def test_skip_goes_on_with_the_sound_rows(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", rows_of(("bread", "a"), ("boots", "b"), ("ferry", "")))
    sound = require_sound(read_labels(str(path), ANY), "skip")
    assert sound.texts == ["bread", "boots"]
    assert len(sound.faults) == 1


def test_skip_still_asks_for_two_classes(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", rows_of(("bread", "a"), ("boots", "a"), ("ferry", "")))
    found = read_labels(str(path), ANY)
    with pytest.raises(LabelFaultsError, match="examples of 1 class, at least 2 needed; add labels"):
        require_sound(found, "skip")
    assert require_sound(found, "skip", min_classes=1).texts == ["bread", "boots"]


def test_skip_still_asks_for_every_class_that_was_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", rows_of(("bread", "a"), ("boots", "b"), ("  ", "c")))
    contract = LabelContract(classes=("a", "b", "c"), min_per_class=1)
    with pytest.raises(LabelFaultsError, match="examples of 2 classes, at least 3 needed; add labels"):
        require_sound(read_labels(str(path), contract), "skip")


def test_faults_and_errors_never_hold_the_text(tmp_path: Path) -> None:
    secret = "zanzibar"
    rows = rows_of(
        (f"{secret} one", "?"),
        (f"{secret} two", ""),
        (f"{secret}\x00", "a"),
        (f"{secret} four", "a"),
        (f"{secret} four", "b"),
        (f"{secret} six", "a"),
        (f"{secret} six", "a"),
    )
    write(tmp_path / "set/a.jsonl", rows)
    (tmp_path / "set/b.csv").write_bytes(b"text,label\nzanzibar \xe9,a\nzanzibar,a,b\n")
    (tmp_path / "set/c.jsonl").write_bytes(b'{"text": "zanzibar", "label": "a"}\n{"text": "zanzibar')
    found = read_labels(str(tmp_path / "set"), LabelContract(classes=("a", "b")))
    assert len(found.faults) >= 9
    assert not [str(fault) for fault in found.faults if secret in str(fault)]
    with pytest.raises(LabelFaultsError) as caught:
        require_sound(found, "fail")
    assert secret not in str(caught.value)


def test_a_text_in_the_label_column_is_not_shown(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [{"text": "a", "label": "zanzibar " * 20}])
    found = read_labels(str(path), LabelContract(classes=("a", "b"), min_per_class=1))
    assert faults(found)[0] == ("a.jsonl", 1, "not a label")
    assert "zanzibar" not in " ".join(map(str, found.faults))
