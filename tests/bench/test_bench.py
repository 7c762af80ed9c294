"""The few-shot benchmark's own parts, on tiny files: what is drawn, that cells are kept, and the table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import draws
import fewshot
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cells import Cell, grid, read_cells, run_cell
from draws import DATA_SETS, DataSet, draw, every_label
from table import into_readme, table

TINY = DataSet("tiny", "Tiny", (4, 20), False, 16, 60.0, 10, test_texts=12, unlabelled=True)


def write(path: Path, rows: list[tuple[str, str]]) -> None:
    texts, labels = [text for text, _ in rows], [label for _, label in rows]
    pq.write_table(pa.table({"id": [str(i) for i in range(len(rows))], "text": texts, "label": labels}), path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """30 training texts of each of two classes, one of them twice, one with both labels; 20 test texts, one known."""
    words = {"good": "warm bread", "poor": "cold ferry"}
    train = [(f"{words[label]} {number}", label) for number in range(30) for label in words]
    train += [("warm bread 0", "good"), ("either", "good"), ("either", "poor")]
    test = [(f"{words[label]} t{number}", label) for number in range(10) for label in words]
    for name in ("tiny", "trec"):
        more = [
            (f"{words[label]} more {number}", label) for number in range(30 if name == "trec" else 0) for label in words
        ]
        write(tmp_path / f"{name}_train.parquet", train + more)
        write(tmp_path / f"{name}_test.parquet", [*test[:-1], ("cold ferry 3", "poor")])
    write(tmp_path / "tiny_unlabelled.parquet", [*((f"neither {number}", "") for number in range(9)), test[0]])
    draws._read.cache_clear()
    draws._read_texts.cache_clear()
    return tmp_path


@pytest.mark.parametrize("dev", [False, True])
@pytest.mark.parametrize("count", TINY.counts)
def test_a_draw_keeps_labels_pool_and_test_apart(folder: Path, count: int, dev: bool) -> None:
    drawn = draw(TINY, count, 1, folder, dev)
    labelled, pool, test = set(drawn.labels.texts), set(drawn.pool), set(drawn.test.texts)
    assert len(labelled) == len(drawn.labels.texts) == count
    assert drawn.labels.labels.count("good") == drawn.labels.labels.count("poor") == count // 2
    assert not labelled & pool
    assert "either" not in labelled
    assert {f"neither {number}" for number in range(9)} < pool
    if dev:
        assert not test & (labelled | pool)
        assert len(test) == 60 - max(TINY.counts)
    else:
        assert len(drawn.test.texts) == TINY.test_texts
        assert len(pool) == 61 - count + 10
    train = set(pq.read_table(folder / "tiny_train.parquet")["text"].to_pylist())
    known = {"warm bread t0", "warm bread 0"} | (set() if dev else train)
    assert [text not in known for text in drawn.test.texts] == list(drawn.alone)


def test_a_draw_depends_on_the_seed_alone(folder: Path) -> None:
    few, many, other = (draw(TINY, count, seed, folder, False) for count, seed in ((4, 1), (20, 1), (4, 2)))
    assert few == draw(TINY, 4, 1, folder, False)
    assert set(few.labels.texts) < set(many.labels.texts)
    assert set(few.labels.texts) != set(other.labels.texts)
    assert few.test == many.test == other.test
    assert draw(TINY, 4, 1, folder, True).test == draw(TINY, 20, 1, folder, True).test


def test_too_small_a_class_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="too few"):
        draw(DataSet("tiny", "Tiny", (70,), False, 16, 60.0, 10), 70, 1, folder, True)


def test_a_cell_is_kept(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    cell, cells = Cell("trec", 8, "nbsvm", 0), folder / "cells"
    made = run_cell(cell, folder, cells, dev=True)
    assert made is not None
    assert (made["n_labels"], made["n_test"], made["budget_s"], made["dev"]) == (16, 20, None, True)
    assert made["accuracy"] > 0.9
    assert [path.name for path in cells.iterdir()] == ["trec-8-nbsvm-0.json"]
    before = (cells / cell.name).stat()
    assert run_cell(cell, folder, cells, dev=True) is None
    monkeypatch.setenv("TLNLP_DATA", str(folder))
    assert fewshot.run([cell, Cell("trec", 8, "nbsvm", 1)], cells, dev=True) == 0
    assert "2 cells, 1 to run" in capsys.readouterr().err
    after = (cells / cell.name).stat()
    assert (before.st_mtime_ns, before.st_ino) == (after.st_mtime_ns, after.st_ino)
    assert [found["seed"] for found in read_cells(cells)] == [0, 1]


def test_the_grid() -> None:
    everything = grid()
    assert (
        len({cell.name for cell in everything})
        == len(everything)
        == 3 * 6 * sum(len(data.counts) for data in DATA_SETS.values())
    )
    assert [cell.name for cell in grid(["imdb"], [200], ["tlnlp", "plain"], [7], 60.0)] == [
        "imdb-200-plain-7.json",
        "imdb-200-tlnlp@60s-7.json",
    ]
    assert grid(["imdb"], [200], ["tlnlp"], [7], 1800.0)[0].name == "imdb-200-tlnlp-7.json"
    assert not {cell.seed for cell in grid(dev=True)} & {cell.seed for cell in everything}


@pytest.mark.parametrize("arguments", [["run", "--seed", "0"], ["run", "--dev", "--seed", "501"]])
def test_seeds_of_the_table_and_of_development_are_not_mixed(arguments: list[str]) -> None:
    assert fewshot.main(arguments) == 2


def test_the_ceiling_learns_from_every_label_but_those_of_test_texts(folder: Path) -> None:
    drawn = draw(TINY, 4, 1, folder, dev=False)
    labels = every_label(TINY, drawn, folder).labels
    train = set(pq.read_table(folder / "tiny_train.parquet")["text"].to_pylist()) - {"either"}
    assert set(labels.texts) == train - set(drawn.test.texts)
    assert len(labels.texts) in (59, 60)


def finished(method: str, seed: int, accuracy: float, **more: Any) -> dict[str, Any]:
    return {
        "data": "imdb", "labels": 200, "n_labels": 200, "method": method, "column": method, "seed": seed,
        "accuracy": accuracy, "accuracy_alone": accuracy - 0.001, "ece": 0.02, "seconds": 90.0, "commit": "0" * 40,
        "machine": {"cpu": "A processor", "cores": 4},
    } | more  # fmt: skip


def test_the_table_says_mean_spread_and_what_is_missing(tmp_path: Path) -> None:
    cells = [finished("nbsvm", seed, accuracy) for seed, accuracy in ((501, 0.80), (502, 0.82), (503, 0.84))]
    on_gpu = {"cpu": "A processor", "cores": 16, "gpu": "An accelerator"}
    cells += [finished("tlnlp", 501, 0.9, column="tlnlp@60s@gpu", machine=on_gpu), finished("setfit", 501, 0.85)]
    cells += [finished("tlnlp-labels", 501, 0.86, seconds=100.0)]
    made = table(cells)
    head, _, row = made.splitlines()[:3]
    assert head == "| data, labels | n-grams (NB-SVM) | SetFit | tlnlp, labels alone | tlnlp, 60s, a GPU |"
    assert row.startswith("| IMDb, 200 | 82.0 ± 2.0 / 0.020 / 1.5 | 85.0 / 0.020 / 1.5 (1 of 3) | 86.0 / 0.020 / 1.7 ")
    assert "at most 0.1 points" in made
    assert "A processor, 16 cores, An accelerator; A processor, 4 cores" in made
    assert "SetFit had less time than tlnlp on labels alone: IMDb 200." in made

    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- fewshot:begin -->\nold\n<!-- fewshot:end -->\nafter\n")
    assert into_readme(made, readme)
    assert readme.read_text() == f"before\n<!-- fewshot:begin -->\n{made}<!-- fewshot:end -->\nafter\n"
    readme.write_text("no markers\n")
    assert not into_readme(made, readme)


def test_budgets_stand_in_their_order() -> None:
    cells = [finished("tlnlp", 501, 0.9, column=column) for column in ("tlnlp@5400s", "tlnlp@900s", "tlnlp")]
    head = table(cells).splitlines()[0]
    assert head == "| data, labels | tlnlp | tlnlp, 900s | tlnlp, 5400s |"
