"""Tests of the sample of unlabelled documents: distinct, unlabelled, uniform, the same for the same seed."""

from __future__ import annotations

import random
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from labels_kit import write

from tlnlp.data import pool as room
from tlnlp.data.csv_records import CsvDialect
from tlnlp.data.pool import read_pool
from tlnlp.data.rows import read_part
from tlnlp.data.tables import source_files
from tlnlp.data.text import MAX_CHARS, model_text_sha256
from tlnlp.errors import InputDataError
from tlnlp.train.inputs import describe_pool


def documents(folder: Path, count: int, name: str = "pool.jsonl") -> str:
    return str(write(folder / name, [{"id": str(i), "text": f"document {i}"} for i in range(count)]))


def test_all_of_a_small_pool_in_another_order(tmp_path: Path) -> None:
    found = read_pool(documents(tmp_path, 40), "text", 100, 1, ())
    assert sorted(found.texts) == sorted(f"document {i}" for i in range(40))
    assert list(found.texts) != [f"document {i}" for i in range(40)]
    assert (found.rows, found.labelled_inside, found.unusable) == (40, 0, 0)


def test_what_is_left_out_and_counted(tmp_path: Path) -> None:
    rows = [{"text": text} for text in ("a b", "a b", " ", None, 7, "labelled", "c\x00d", "e f")]
    found = read_pool(
        str(write(tmp_path / "pool.jsonl", rows)), "text", 100, 0, {model_text_sha256("labelled", MAX_CHARS)}
    )
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


def test_the_sample_of_a_small_input_stays_the_same(tmp_path: Path) -> None:
    def rows(start: int, count: int) -> list[dict[str, Any]]:
        return [{"id": str(i), "text": f"document {i % 700} of\nthe pool"} for i in range(start, start + count)]

    folder = tmp_path / "pool"
    write(folder / "a.jsonl", rows(0, 400))
    write(folder / "b.csv", rows(300, 300))
    write(folder / "c.csv.gz", rows(500, 200))
    write(folder / "d.parquet", rows(650, 200))
    write(folder / "e.jsonl.gz", [{"text": " "}, {"text": 7}, *rows(800, 50)])
    labelled = {model_text_sha256(f"document {i} of\nthe pool", MAX_CHARS) for i in range(0, 700, 7)}
    found = read_pool(str(folder), "text", 150, 3, labelled)
    # As the first version of this reader drew it: versions of models record such digests.
    assert found.digest == "bfb779c0b3f6547f299f20786944db9c54e240ba72a31305b8b935e14da5ff47"
    assert (found.rows, found.labelled_inside, found.unusable, found.parts_read) == (1152, 165, 2, 0)


@pytest.mark.parametrize("name", ["pool.jsonl", "pool.csv", "pool.parquet", "several"])
def test_a_large_input_is_sampled_evenly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(room, "ROWS_PER_TEXT", 4)
    monkeypatch.setattr(room, "PART_BYTES", dict.fromkeys(room.PART_BYTES, 400))
    rows = [{"id": str(i), "text": f"document {i:03}"} for i in range(200)]
    if name == "several":
        for number in range(10):  # Compressed files cannot be read in parts.
            write(tmp_path / name / f"{number}.jsonl.gz", rows[number * 20 : number * 20 + 20])
    elif name == "pool.parquet":
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / name, row_group_size=20)
    else:
        write(tmp_path / name, rows)
    counts: Counter[str] = Counter()
    for seed in range(300):
        found = read_pool(str(tmp_path / name), "text", 10, seed, (), csv=CsvDialect(multiline=False))
        assert 40 <= found.rows <= 90
        assert 0 < found.parts_read < found.parts
        assert (len(found.texts), found.unusable, found.unreadable) == (10, 0, 0)
        counts.update(found.texts)
    # Each text is in 15 of 300 samples on average, and each fifth of the input in 600 draws of 3000.
    assert len(counts) == 200
    fifths = Counter(int(text.split()[1]) // 40 for text in counts.elements())
    assert all(450 < fifths[fifth] < 750 for fifth in range(5))


def test_parts_of_a_file_hold_each_row_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for part_bytes in (1, 7, 100, 333):
        monkeypatch.setattr(room, "PART_BYTES", dict.fromkeys(room.PART_BYTES, part_bytes))
        for name in ("pool.jsonl", "pool.csv"):
            uri = documents(tmp_path, 30, name)
            (source,) = source_files(uri)
            dialect = CsvDialect(multiline=False)
            parts = room._parts_of(source, dialect)
            found = [row.values[0] for part in parts for row in read_part(part, ("text",), dialect)]
            assert found == [f"document {i}" for i in range(30)]


def test_damaged_files_are_counted(tmp_path: Path) -> None:
    documents(tmp_path / "pool", 30, "a.jsonl")
    (tmp_path / "pool/b.parquet").write_bytes(b"PAR1")
    found = read_pool(str(tmp_path / "pool"), "text", 5, 0, ())
    assert (found.rows, found.unreadable) == (30, 1)
    assert "1 file or part of a file cannot be read to the end" in describe_pool(found)


def test_a_large_file_is_not_held_in_memory(tmp_path: Path) -> None:
    data = random.Random(0).randbytes(1 << 20).hex()
    texts = [f"{number} {data[number % 1000 :][:200_000]}" for number in range(500)]
    rows = [{"id": "1", "text": text} for text in texts]
    for name in ("pool.jsonl", "pool.csv", "pool.csv.gz", "pool.parquet"):
        path = write(tmp_path / name, rows)
        if name == "pool.parquet":  # One row group, whose texts Parquet cannot tell once in a dictionary.
            pq.write_table(pa.Table.from_pylist(rows), path, use_dictionary=False, compression="none")
        program = f"""
import resource
from tlnlp.data.pool import read_pool
read_pool({str(write(tmp_path / "warm" / name, rows[:5]))!r}, "text", 5, 0, ())
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert read_pool({str(path)!r}, "text", 20, 0, ()).rows == 500
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
        grown = int(subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout)
        assert grown < 50, f"{name}: {grown} MiB for 100 MB"


def test_nothing_there_and_a_missing_column(tmp_path: Path) -> None:
    with pytest.raises(InputDataError, match="nothing is there"):
        read_pool(str(tmp_path / "none"), "text", 5, 0, ())
    with pytest.raises(InputDataError, match=r"no column 'body' .*; set the name of the column of texts"):
        read_pool(documents(tmp_path, 3), "body", 5, 0, ())


def test_an_empty_file_is_an_empty_pool(tmp_path: Path) -> None:
    found = read_pool(str(write(tmp_path / "pool.jsonl", [])), "text", 5, 0, ())
    assert (found.texts, found.rows, found.unusable) == ((), 0, 0)


def test_a_pool_of_blank_texts_is_an_empty_one(tmp_path: Path) -> None:
    found = read_pool(str(write(tmp_path / "pool.jsonl", [{"text": ""}, {"text": "  "}])), "text", 5, 0, ())
    assert (found.texts, found.rows, found.unusable) == ((), 2, 2)
