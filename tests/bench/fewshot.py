"""The few-shot benchmark: ``run`` the missing cells, then print the ``table``. A stopped run resumes at its next cell.

    python tests/bench/fewshot.py run [--data imdb] [--labels 200] [--method tlnlp] [--seed 701] [--budget 300]
                                      [--encoder e5-small-v2] [--keep FOLDER] [--dev]
    python tests/bench/fewshot.py table [--dev]

Data: the folder TLNLP_DATA (else ../shared/data), with imdb, agnews and trec as Parquet (id, text, label).
``--dev`` is for choosing recipes: labels and test texts are from the training files, cells are in build/bench-dev.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from cells import CELLS, DEV_CELLS, ROOT, Cell, data_folder, grid, read_cells, run_cell
from draws import DATA_SETS, DEV_SEEDS, SEEDS
from methods import METHODS
from table import figure, into_page, table
from tasks import MethodError

from tlnlp.runs import environment

FIGURE = CELLS.with_name("fewshot.png")
PAGE = ROOT / "docs" / "benchmarks.md"


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(description="Few-shot benchmark: cells and their table.")
    parts = made.add_subparsers(dest="part", required=True)
    run = parts.add_parser("run", help="run the missing cells; each filter may be repeated")
    run.add_argument("--data", action="append", default=[], choices=list(DATA_SETS))
    run.add_argument(
        "--labels",
        action="append",
        default=[],
        type=int,
        help="labels in all (imdb; trec: 200) or of each class (agnews, trec)",
    )
    run.add_argument("--method", action="append", default=[], choices=list(METHODS))
    run.add_argument("--seed", action="append", default=[], type=int)
    run.add_argument("--budget", type=float, help="time budget of tlnlp in seconds; gives a column of its own")
    run.add_argument(
        "--encoder",
        type=_encoder,
        help="a name or a folder; gives columns of its own. [default: e5-small-v2; auto for tlnlp]",
    )
    run.add_argument("--dev", action="store_true", help="use test texts from the training file, and seeds 0, 1, 2")
    run.add_argument("--keep", type=Path, help="a folder for the versions that tlnlp makes")
    shown = parts.add_parser("table", help="print the table, write it into docs/benchmarks.md, and draw the figure")
    shown.add_argument("--dev", action="store_true", help="only print the table of the development cells")
    return made


def _encoder(given: str) -> str:
    """Return a name unchanged, and a folder as an absolute path."""
    return str(Path(given).resolve()) if Path(given).is_dir() else given


def run(cells: list[Cell], folder: Path, dev: bool, keep: Path | None = None) -> int:
    """Run the missing cells and return the exit code. A cell that fails is reported, and the others still run."""
    missing = [cell for cell in cells if not (folder / cell.name).exists()]
    print(f"{len(cells)} cells, {len(missing)} to run", file=sys.stderr)
    failed = 0
    for number, cell in enumerate(missing, start=1):
        started = time.monotonic()
        try:
            result = run_cell(cell, data_folder(), folder, dev, keep)
        except MethodError as error:
            failed += 1
            print(f"[{number}/{len(missing)}] {cell.name} FAILED: {error}", file=sys.stderr)
            continue
        if result is not None:
            summary = f"accuracy {result['accuracy']:.4f}, ece {result['ece']:.3f}, trained {result['seconds']:.0f} s"
            print(
                f"[{number}/{len(missing)}] {cell.name}: {summary}, {time.monotonic() - started:.0f} s", file=sys.stderr
            )
    return 1 if failed else 0


def show(dev: bool) -> int:
    """Print the table, write it into docs/benchmarks.md with its figure, and return the exit code."""
    cells = read_cells(DEV_CELLS if dev else CELLS)
    made = table(cells, len(DEV_SEEDS if dev else SEEDS))
    print(made, end="")
    if not dev:
        if cells and not figure(cells, FIGURE):
            print("the figure was not drawn: matplotlib is missing: run make .cache/setfit/.installed", file=sys.stderr)
        seen = (
            ""
            if not (cells and FIGURE.exists())
            else f"\n![Accuracy by number of labels]({os.path.relpath(FIGURE, PAGE.parent)})\n"
        )
        if not into_page(made + seen, PAGE):
            print("the table was not written: docs/benchmarks.md has no markers for it", file=sys.stderr)
    return 0


def main(arguments: list[str]) -> int:
    """Run the command line and return the exit code."""
    asked = parser().parse_args(arguments)
    if asked.part == "table":
        return show(asked.dev)
    other = SEEDS if asked.dev else DEV_SEEDS
    if set(asked.seed) & set(other):
        # A recipe that is chosen on a draw must not be tested on the same draw.
        print(
            f"seeds {other} are reserved {'for the table' if asked.dev else 'for --dev'}: choose others",
            file=sys.stderr,
        )
        return 2
    cells = grid(asked.data, asked.labels, asked.method, asked.seed, asked.budget, asked.dev, asked.encoder)
    if not cells:
        print(
            "no cell matches: see the counts in tests/bench/draws.py; only tlnlp runs with encoder auto or 0 labels",
            file=sys.stderr,
        )
        return 2
    return run(cells, DEV_CELLS if asked.dev else CELLS, asked.dev, asked.keep)


if __name__ == "__main__":
    environment.apply_defaults()
    sys.exit(main(sys.argv[1:]))
