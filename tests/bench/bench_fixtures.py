"""A fixture with the files of two tiny data sets."""

from __future__ import annotations

from pathlib import Path

import draws
import pytest
from bench_kit import write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with 30 training texts of each of two classes and 20 test texts.

    One training text occurs twice, one has both labels, and one test text is a training text.
    """
    words = {"good": "warm bread", "poor": "cold ferry"}
    train = [(f"{words[label]} {number}", label) for number in range(30) for label in words]
    train += [("warm bread 0", "good"), ("either", "good"), ("either", "poor")]
    test = [(f"{words[label]} t{number}", label) for number in range(10) for label in words]
    for name in ("tiny", "trec"):
        extra = 200 if name == "trec" else 0
        more = [(f"{words[label]} more {number}", label) for number in range(extra) for label in words]
        write(tmp_path / f"{name}_train.parquet", train + more)
        write(tmp_path / f"{name}_test.parquet", [*test[:-1], ("cold ferry 3", "poor")])
    write(tmp_path / "tiny_unlabelled.parquet", [*((f"neither {number}", "") for number in range(9)), test[0]])
    draws._read.cache_clear()
    draws._read_texts.cache_clear()
    return tmp_path
