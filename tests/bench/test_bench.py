"""The few-shot benchmark on tiny files: draws, cells, encoders and the table."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import fewshot
import methods
import numpy as np
import pyarrow.parquet as pq
import pytest
import seconds
from bench_kit import TINY
from cells import Cell, figures, grid, read_cells, run_cell
from draws import DATA_SETS, DataSet, draw, every_label
from encoders import EncoderError, EncoderFiles
from methods import METHODS
from table import into_page, table
from tasks import MethodError, Outcome, Task
from torch_methods import embed

from tlnlp.evaluate.intervals import wilson


@pytest.mark.parametrize("dev", [False, True])
@pytest.mark.parametrize("count", TINY.every_count)
def test_a_draw_keeps_labels_pool_and_test_apart(folder: Path, count: int, dev: bool) -> None:
    drawn = draw(TINY, count, 1, folder, dev)
    labelled, pool, test = set(drawn.labels.texts), set(drawn.pool), set(drawn.test.texts)
    assert len(labelled) == len(drawn.labels.texts) == count
    if count in TINY.counts:
        assert drawn.labels.labels.count("good") == drawn.labels.labels.count("poor") == count // 2
    assert not labelled & pool
    assert "either" not in labelled
    assert {f"neither {number}" for number in range(9)} < pool
    if dev:
        assert not test & (labelled | pool)
        others = [draw(TINY, other, 1, folder, dev) for other in TINY.every_count]
        assert all(other.test == drawn.test and not test & set(other.labels.texts) for other in others)
        # Half of the texts that no draw takes. The random draw and the draw by class may have texts in common.
        assert (60 - 20 - 9) // 2 <= len(test) <= (60 - 20) // 2
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


def test_labels_at_random_are_not_drawn_by_class(folder: Path) -> None:
    found = {draw(TINY, 9, seed, folder, False).labels.labels.count("good") for seed in range(20)}
    assert len(found) > 2
    assert draw(TINY, 9, 1, folder, False) == draw(TINY, 9, 1, folder, False)
    assert (TINY.title_of(0), TINY.title_of(9)) == ("Tiny, no labels", "Tiny, 9 in all")
    trec = DATA_SETS["trec"]
    assert (trec.title_of(8), trec.title_of(200)) == ("TREC, 8 a class", "TREC, 200 in all")
    assert all(len(set(data.every_count)) == len(data.every_count) for data in DATA_SETS.values())


def test_without_labels_the_settings_hold_class_names_alone(folder: Path) -> None:
    drawn = draw(TINY, 0, 1, folder, False)
    drawn.write(folder)
    assert not (folder / "labels.parquet").exists()
    task = Task(TINY, drawn, 1, None, folder)
    assert methods._given(task) == ["classes=good,poor", "allow_unvalidated=true"]
    at_random = replace(task, drawn=draw(TINY, 9, 1, folder, False))
    assert methods._given(at_random) == ["labels=labels.parquet", "min_per_class=1"]
    assert methods._given(replace(task, drawn=draw(TINY, 4, 1, folder, False))) == ["labels=labels.parquet"]


def test_a_class_without_a_label_is_never_right(folder: Path) -> None:
    drawn = draw(TINY, 4, 1, folder, False)
    outcome = Outcome(np.ones((12, 1)), ("good",), 1.0, 1.0, "always(good)")
    found = figures(Cell("trec", 8, "nbsvm", 0), drawn, outcome)
    good = drawn.test.labels.count("good")
    assert found["accuracy"] == pytest.approx(good / 12, abs=1e-6)
    assert found["accuracy_interval"] == pytest.approx(wilson(good, 12), abs=1e-6)
    assert found["n_test"] == 12


def test_too_small_a_class_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="too few"):
        draw(DataSet("tiny", "Tiny", (70,), False, 16, 60.0, 10), 70, 1, folder, True)


def test_a_cell_is_run_and_written_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cell, cells = Cell("trec", 8, "nbsvm", 0), folder / "cells"
    made = run_cell(cell, folder, cells, dev=True)
    assert made is not None
    assert (made["n_labels"], made["budget_s"], made["encoder"], made["dev"]) == (16, None, None, True)
    # 460 texts, of which 100 are drawn for 50 labels a class, and 200 for 200 labels in all; some are in both draws.
    assert 80 <= made["n_test"] <= 130
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


def test_the_grid_has_the_cells_asked_for() -> None:
    everything = grid()
    counts = sum(1 for data in DATA_SETS.values() for count in data.every_count if count)
    assert len({cell.name for cell in everything}) == len(everything) == 3 * (6 * counts + 1)
    assert [cell.method for cell in grid(["imdb"], [0], seeds=[7])] == ["tlnlp"]
    assert [cell.name for cell in grid(["imdb"], [200], ["tlnlp", "plain"], [7], 60.0)] == [
        "imdb-200-plain-7.json",
        "imdb-200-tlnlp@60s-7.json",
    ]
    assert grid(["imdb"], [200], ["tlnlp"], [7], 1800.0)[0].name == "imdb-200-tlnlp-7.json"
    assert not {cell.seed for cell in grid(dev=True)} & {cell.seed for cell in everything}


def test_cells_name_their_encoder() -> None:
    def named(encoder: str | None) -> list[tuple[str, str | None]]:
        cells = grid(["trec"], [8], seeds=[7], budget_s=60.0, encoder=encoder)
        return [(cell.column, cell.encoder_taken) for cell in cells]

    assert named(None) == [
        ("nbsvm", None), ("frozen", "e5-small-v2"), ("plain", "e5-small-v2"), ("setfit", "e5-small-v2"),
        ("tlnlp-labels", "auto"), ("tlnlp@60s", "auto"),
    ]  # fmt: skip
    assert named("e5-small-v2") == [
        *named(None)[:4], ("tlnlp-labels@e5-small-v2", "e5-small-v2"), ("tlnlp@e5-small-v2@60s", "e5-small-v2"),
    ]  # fmt: skip
    assert [column for column, _ in named("/a/folder/small")][1:] == [
        "frozen@small", "plain@small", "setfit@small", "tlnlp-labels@small", "tlnlp@small@60s",
    ]  # fmt: skip
    assert [column for column, _ in named("auto")] == ["nbsvm", "tlnlp-labels", "tlnlp@60s"]
    assert fewshot.main(["run", "--method", "frozen", "--encoder", "auto"]) == 2
    assert fewshot.main(["run", "--data", "imdb", "--labels", "0", "--method", "setfit"]) == 2


def prompted(folder: Path, prompt: str = "bad: ") -> Path:
    """Add the files that prescribe the usage of an encoder to its folder, and return the folder."""
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    config = {"prompts": {"query": prompt, "passage": "good: "}, "default_prompt_name": "query"}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(config))
    modules = [{"type": f"sentence_transformers.models.{name}"} for name in ("Transformer", "Pooling", "Normalize")]
    (folder / "modules.json").write_text(json.dumps(modules))
    return folder


def test_an_encoder_is_used_as_its_files_say(tiny_encoder: Path, tmp_path: Path) -> None:
    plain = EncoderFiles.of(str(tiny_encoder))
    assert (plain.prompt, plain.pooling, plain.normalize) == ("", "mean", False)
    described = EncoderFiles.of(str(prompted(Path(shutil.copytree(tiny_encoder, tmp_path / "described")))))
    assert (described.prompt, described.pooling, described.normalize) == ("bad: ", "cls", True)
    assert described.encode(["warm bread"], 16) == plain.encode(["bad: warm bread"], 16)
    long = " ".join(["good"] * 9 + ["night"] * 9)
    assert plain.encode([long], 8) == plain.encode(["good good good night night night"], 8)
    assert described.encode([long], 8) == plain.encode(["bad: good good night night"], 8)
    # SetFit gets the cut texts, and reads the same tokens as the other methods.
    texts = [long, "warm bread"]
    assert plain.encode(described.cut(texts, 8), 99) == described.encode(texts, 8)
    embedded, alone = embed(described, texts, 8), embed(described, texts[1:], 8)
    assert np.linalg.norm(embedded, axis=1) == pytest.approx([1, 1])
    assert embedded[1] == pytest.approx(alone[0], abs=1e-5)
    assert np.linalg.norm(embed(plain, texts, 8), axis=1).max() > 1.5
    with pytest.raises(EncoderError, match="put its files there"):
        EncoderFiles.of("no-such-encoder")


@pytest.mark.parametrize("method", ["frozen", "plain"])
def test_baselines_run_on_the_encoder_named(folder: Path, tiny_encoder: Path, method: str) -> None:
    cell = Cell("trec", 8, method, 0, encoder=str(tiny_encoder))
    made = run_cell(cell, folder, folder / "cells", dev=True)
    assert made is not None
    assert (made["column"], made["encoder"]) == (f"{method}@tiny", str(tiny_encoder))
    assert made["accuracy"] > 0.9
    missing = Cell("trec", 8, method, 0, encoder="no-such-encoder")
    with pytest.raises(MethodError, match="put its files there"):
        run_cell(missing, folder, folder / "cells", dev=True)


@pytest.mark.parametrize("arguments", [["run", "--seed", "0"], ["run", "--dev", "--seed", "701"]])
def test_seeds_of_the_table_and_of_development_are_not_mixed(arguments: list[str]) -> None:
    assert fewshot.main(arguments) == 2


def test_the_ceiling_learns_from_every_label_but_those_of_test_texts(folder: Path) -> None:
    drawn = draw(TINY, 4, 1, folder, dev=False)
    labels = every_label(TINY, drawn, folder).labels
    train = set(pq.read_table(folder / "tiny_train.parquet")["text"].to_pylist()) - {"either"}
    assert set(labels.texts) == train - set(drawn.test.texts)
    assert len(labels.texts) in (59, 60)


def finished(method: str, seed: int, accuracy: float, **more: Any) -> dict[str, Any]:
    """Return the result of a finished cell."""
    return {
        "data": "imdb", "labels": 200, "n_labels": 200, "method": method, "column": method, "seed": seed,
        "accuracy": accuracy, "accuracy_alone": accuracy - 0.001, "ece": 0.02, "seconds": 90.0, "commit": "0" * 40,
        "machine": {"cpu": "A processor", "cores": 4}, "accuracy_interval": [accuracy - 0.01, accuracy + 0.02],
        "encoder": METHODS[method].encoder,
    } | more  # fmt: skip


def test_the_table_shows_mean_deviation_and_missing_seeds(tmp_path: Path) -> None:
    cells = [finished("nbsvm", seed, accuracy) for seed, accuracy in ((701, 0.80), (702, 0.82), (703, 0.84))]
    on_gpu = {"cpu": "A processor", "cores": 16, "gpu": "An accelerator"}
    cells += [finished("tlnlp", 701, 0.9, column="tlnlp@60s@gpu", machine=on_gpu), finished("setfit", 701, 0.85)]
    cells += [finished("tlnlp-labels", 701, 0.86, seconds=100.0)]
    made = table(cells)
    head = "| data, labels | n-grams (NB-SVM) | SetFit | tlnlp, labels alone | tlnlp, with documents, 60s, a GPU |"
    assert made.splitlines().count(head) == 3
    rows = [line for line in made.splitlines() if line.startswith("| IMDb, 200 in all | ")]
    assert [row.removeprefix("| IMDb, 200 in all | ") for row in rows] == [
        "82.0 ± 2.0 | 85.0 (1 of 3) | 86.0 (1 of 3) | 90.0 (1 of 3) |",
        "0.020 | 0.020 (1 of 3) | 0.020 (1 of 3) | 0.020 (1 of 3) |",
        "1.5 | 1.5 (1 of 3) | 1.7 (1 of 3) | 1.5 (1 of 3) |",
    ]
    assert "at most 0.1 points" in made
    assert "at most ±1.5 points" in made
    assert "Encoders: auto (tlnlp, labels alone, tlnlp, with documents); e5-small-v2 (SetFit)." in made
    assert "Time budget of tlnlp unless its column names another: IMDb 1800 s." in made
    assert "A processor, 16 cores, An accelerator; A processor, 4 cores" in made
    assert "SetFit had less time than tlnlp on labels alone: IMDb, 200 in all." in made

    page = tmp_path / "benchmarks.md"
    page.write_text("before\n<!-- fewshot:begin -->\nold\n<!-- fewshot:end -->\nafter\n")
    assert into_page(made, page)
    assert page.read_text() == f"before\n<!-- fewshot:begin -->\n{made}<!-- fewshot:end -->\nafter\n"
    page.write_text("no markers\n")
    assert not into_page(made, page)


def test_without_cells_the_page_says_how_they_are_made(tmp_path: Path) -> None:
    page = tmp_path / "benchmarks.md"
    page.write_text("before\n<!-- fewshot:begin -->\nold\n<!-- fewshot:end -->\nafter\n")
    assert into_page(table([]), page)
    section = page.read_text().split("-->")[1]
    assert "old" not in section
    assert "`make bench-fewshot`" in section


def test_rows_of_a_data_set_stand_in_their_order() -> None:
    counts = ((200, 200), (8, 48), (50, 300))
    cells = [finished("nbsvm", 701, 0.8, data="trec", labels=labels, n_labels=n) for labels, n in counts]
    cells += [finished("tlnlp", 701, 0.8, labels=0, n_labels=0)]
    rows = [line.split(" | ")[0] for line in table(cells).splitlines()[4:8]]
    assert rows == ["| TREC, 8 a class", "| TREC, 50 a class", "| TREC, 200 in all", "| IMDb, no labels"]


def test_budgets_stand_in_their_order() -> None:
    cells = [finished("tlnlp", 701, 0.9, column=column) for column in ("tlnlp@5400s", "tlnlp@900s", "tlnlp")]
    head = table(cells).splitlines()[2]
    documents = "tlnlp, with documents"
    assert head == f"| data, labels | {documents} | {documents}, 900s | {documents}, 5400s |"


@pytest.mark.parametrize("arguments", [["--seed", "701"], ["--labels", "0"], ["--labels", "9"]])
def test_seconds_are_of_development_draws(arguments: list[str]) -> None:
    assert seconds.main(arguments) == 2


def test_seconds_are_of_few_test_texts_and_no_pool(folder: Path) -> None:
    drawn = draw(TINY, 4, 1, folder, True)
    few = seconds.few_tests(drawn)
    assert (few.labels, len(few.test.texts), len(few.alone), few.pool) == (drawn.labels, 10, 10, ())
