"""The few-shot benchmark: ``run`` what is missing, then ``table``. Stopped at any time, it goes on from its cells.

    python tests/bench/fewshot.py run [--data imdb] [--labels 200] [--method tlnlp] [--seed 701] [--budget 300]
                                      [--encoder e5-small-v2] [--dev]
    python tests/bench/fewshot.py table [--dev]

Data: the folder TLNLP_DATA (else ../shared/data), with imdb, agnews and trec as Parquet (id, text, label).
``--dev``: labels and test texts from the training files alone, for choosing recipes; cells in build/bench-dev.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from cells import CELLS, DEV_CELLS, ROOT, Cell, data_folder, grid, read_cells, run_cell
from draws import DATA_SETS, DEV_SEEDS, SEEDS
from methods import METHODS
from table import figure, into_readme, table
from tasks import MethodError

from tlnlp.runs import environment

FIGURE = CELLS.with_name("fewshot.png")


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description="Few-shot benchmark: cells and their table.")
    parts = made.add_subparsers(dest="part", required=True)
    run = parts.add_parser("run", help="run the cells that are missing; each filter may be repeated")
    run.add_argument("--data", action="append", default=[], choices=list(DATA_SETS))
    run.add_argument(
        "--labels", action="append", default=[], type=int, help="in all (imdb; trec: 200) or a class (agnews, trec)"
    )
    run.add_argument("--method", action="append", default=[], choices=list(METHODS))
    run.add_argument("--seed", action="append", default=[], type=int)
    run.add_argument("--budget", type=float, help="seconds of training that tlnlp may take; columns of their own")
    run.add_argument(
        "--encoder", type=_encoder, help="a name or folder, columns of their own; else e5-small-v2, and auto for tlnlp"
    )
    run.add_argument("--dev", action="store_true", help="test texts from the training file; seeds 0, 1, 2")
    shown = parts.add_parser("table", help="print the table; write it into README.md, and the figure")
    shown.add_argument("--dev", action="store_true", help="of the development cells; only printed")
    return made


def _encoder(given: str) -> str:
    """A name as it is; a folder as any working folder knows it."""
    return str(Path(given).resolve()) if Path(given).is_dir() else given


def run(cells: list[Cell], folder: Path, dev: bool) -> int:
    """Run what is missing; a cell that fails is named, and the others go on. Returns the exit code."""
    missing = [cell for cell in cells if not (folder / cell.name).exists()]
    print(f"{len(cells)} cells, {len(missing)} to run", file=sys.stderr)
    failed = 0
    for number, cell in enumerate(missing, start=1):
        started = time.monotonic()
        try:
            result = run_cell(cell, data_folder(), folder, dev)
        except MethodError as error:
            failed += 1
            print(f"[{number}/{len(missing)}] {cell.name} FAILED: {error}", file=sys.stderr)
            continue
        if result is not None:
            said = f"accuracy {result['accuracy']:.4f}, ece {result['ece']:.3f}, trained {result['seconds']:.0f} s"
            print(f"[{number}/{len(missing)}] {cell.name}: {said}, {time.monotonic() - started:.0f} s", file=sys.stderr)
    return 1 if failed else 0


def show(dev: bool) -> int:
    cells = read_cells(DEV_CELLS if dev else CELLS)
    made = table(cells, len(DEV_SEEDS if dev else SEEDS))
    print(made, end="")
    if not dev:
        if cells and not figure(cells, FIGURE):
            print("no figure: make .cache/setfit/.installed", file=sys.stderr)
        seen = (
            ""
            if not (cells and FIGURE.exists())
            else f"\n![Accuracy by number of labels]({FIGURE.relative_to(ROOT)})\n"
        )
        if not into_readme(made + seen, ROOT / "README.md"):
            print("README.md has no markers for the table", file=sys.stderr)
    return 0


def main(arguments: list[str]) -> int:
    asked = parser().parse_args(arguments)
    if asked.part == "table":
        return show(asked.dev)
    other = SEEDS if asked.dev else DEV_SEEDS
    if set(asked.seed) & set(other):
        # Else a recipe chosen on a draw would be tested on the same draw.
        print(f"seeds {other} are {'of the table' if asked.dev else 'for --dev'}; take others", file=sys.stderr)
        return 2
    cells = grid(asked.data, asked.labels, asked.method, asked.seed, asked.budget, asked.dev, asked.encoder)
    if not cells:
        print(
            "no cell is so: see the counts in tests/bench/draws.py; only tlnlp runs on auto and on 0", file=sys.stderr
        )
        return 2
    return run(cells, DEV_CELLS if asked.dev else CELLS, asked.dev)


if __name__ == "__main__":
    environment.apply_defaults()
    sys.exit(main(sys.argv[1:]))
