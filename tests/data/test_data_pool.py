"""Tests of the sample of unlabelled documents: distinct, unlabelled, uniform, the same for the same seed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from labels_kit import write

from tlnlp.data import pool as room
from tlnlp.data.pool import read_pool
from tlnlp.data.text import text_sha256
from tlnlp.errors import InputDataError


def documents(folder: Path, count: int, name: str = "pool.jsonl") -> str:
    return str(write(folder / name, [{"id": str(i), "text": f"document {i}"} for i in range(count)]))


def test_all_of_a_small_pool_in_another_order(tmp_path: Path) -> None:
    found = read_pool(documents(tmp_path, 40), "text", 100, 1, ())
    assert sorted(found.texts) == sorted(f"document {i}" for i in range(40))
    assert list(found.texts) != [f"document {i}" for i in range(40)]
    assert (found.rows, found.labelled_inside, found.unusable) == (40, 0, 0)


def test_what_is_left_out_and_counted(tmp_path: Path) -> None:
    rows = [{"text": text} for text in ("a b", "a b", " ", None, 7, "labelled", "c\x00d", "e f")]
    found = read_pool(str(write(tmp_path / "pool.jsonl", rows)), "text", 100, 0, {text_sha256("labelled")})
    assert sorted(found.texts) == ["a b", "e f"]
    assert (found.rows, found.labelled_inside, found.unusable) == (8, 1, 4)


def test_a_sample_is_of_the_seed_and_its_digest_tells(tmp_path: Path) -> None:
    uri = documents(tmp_path, 200)
    one, same, other = (read_pool(uri, "text", 20, seed, ()) for seed in (1, 1, 2))
    assert one == same
    assert (len(one.texts), len(set(one.texts))) == (20, 20)
    assert one.digest != other.digest
    assert set(one.texts) != set(other.texts)


def test_every_document_is_as_likely_as_any_other(tmp_path: Path) -> None:
    uri = documents(tmp_path, 30)
    counts = Counter(text for seed in range(300) for text in read_pool(uri, "text", 10, seed, ()).texts)
    # Each text is drawn in 100 of 300 samples on average, with a standard deviation of 8.
    assert len(counts) == 30
    assert max(abs(count - 100) for count in counts.values()) < 40


def test_of_very_many_rows_only_the_first_files_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "ROWS_PER_TEXT", 2)
    for number in range(5):
        documents(tmp_path / "pool", 10, f"{number}.jsonl")
    assert read_pool(str(tmp_path / "pool"), "text", 5, 0, ()).rows == 10


def test_nothing_there_and_a_missing_column(tmp_path: Path) -> None:
    with pytest.raises(InputDataError, match="nothing is there"):
        read_pool(str(tmp_path / "none"), "text", 5, 0, ())
    with pytest.raises(InputDataError, match="no column 'body'"):
        read_pool(documents(tmp_path, 3), "body", 5, 0, ())


def test_an_empty_file_is_an_empty_pool(tmp_path: Path) -> None:
    found = read_pool(str(write(tmp_path / "pool.jsonl", [])), "text", 5, 0, ())
    assert (found.texts, found.rows, found.unusable) == ((), 0, 0)


def test_a_pool_of_blank_texts_is_an_empty_one(tmp_path: Path) -> None:
    found = read_pool(str(write(tmp_path / "pool.jsonl", [{"text": ""}, {"text": "  "}])), "text", 5, 0, ())
    assert (found.texts, found.rows, found.unusable) == ((), 2, 2)
