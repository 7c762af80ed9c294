"""Make a Markdown table of the cells, write it into benchmarks.md between its markers, and draw a figure."""

from __future__ import annotations

import json
import statistics
import subprocess
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from draws import DATA_SETS, SEEDS
from methods import METHODS, SETFIT, SETFIT_CAPPED_ABOVE

BEGIN, END = "<!-- fewshot:begin -->", "<!-- fewshot:end -->"
NOTHING = "No cell of the table is measured yet: `make bench-fewshot` measures them, and writes the table here.\n"
Cell = dict[str, Any]
Groups = dict[tuple[str, int, str], list[Cell]]
# Returns what a table shows of the cells of all seeds.
Entry = Callable[[Sequence[Cell]], str]


def group(cells: Sequence[Cell]) -> Groups:
    """Return the cells of each (data set, label count, column), with all seeds."""
    groups: Groups = defaultdict(list)
    for cell in cells:
        groups[cell["data"], cell["labels"], cell["column"]].append(cell)
    return dict(groups)


def columns(groups: Groups) -> list[str]:
    """Return the columns that have cells, in the order of methods; of one method, by budget."""
    order = list(METHODS)
    # Shorter names come first, so that 900s comes before 5400s.
    found = {column for _, _, column in groups}
    return sorted(found, key=lambda column: (order.index(column.partition("@")[0]), len(column), column))


def table(cells: Sequence[Cell], seeds: int = len(SEEDS)) -> str:
    """Return a table for each figure: a row for each data set and label count, a column for each method; notes below.

    An entry with fewer than ``seeds`` seeds is marked. Without cells, return a sentence that says how to measure them.
    """
    if not cells:
        return NOTHING
    groups = group(cells)
    lines: list[str] = []
    for title, entry in FIGURES.items():
        lines += [f"**{title}**", "", *_lines(groups, entry, seeds), ""]
    return "\n".join([*lines, *_notes(cells, groups)]) + "\n"


def _lines(groups: Groups, entry: Entry, seeds: int) -> list[str]:
    """Return the lines of the table of one figure."""
    shown = columns(groups)
    lines = [
        "| data, labels | " + " | ".join(_title(column) for column in shown) + " |",
        "|---|" + "---|" * len(shown),
    ]
    for data in DATA_SETS.values():
        for count in data.every_count:
            found = [groups.get((data.name, count, column), []) for column in shown]
            if any(found):
                entries = [f"{entry(cells)}{_missing(cells, seeds)}" if cells else "" for cells in found]
                lines.append(f"| {data.title_of(count)} | " + " | ".join(entries) + " |")
    return lines


def _title(column: str) -> str:
    method, *others = column.split("@")
    return ", ".join([METHODS[method].title, *(other.replace("gpu", "a GPU") for other in others)])


def _missing(cells: Sequence[Cell], seeds: int) -> str:
    return f" ({len(cells)} of {seeds})" if len(cells) < seeds else ""


def _accuracy(cells: Sequence[Cell]) -> str:
    values = [100 * cell["accuracy"] for cell in cells]
    deviation = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.1f}{deviation}"


def _ece(cells: Sequence[Cell]) -> str:
    return f"{statistics.mean(cell['ece'] for cell in cells):.3f}"


def _minutes(cells: Sequence[Cell]) -> str:
    return f"{statistics.mean(cell['seconds'] for cell in cells) / 60:.1f}"


# What each table shows, by its title.
FIGURES: dict[str, Entry] = {
    "Test accuracy, %": _accuracy,
    "Calibration error (ECE, 15 bins of equal size)": _ece,
    "Minutes of training": _minutes,
}


def _notes(cells: Sequence[Cell], groups: Groups) -> list[str]:
    """Return how to read the table, and what it was measured on."""
    seeds = sorted({cell["seed"] for cell in cells})
    machines = sorted({_machine(cell["machine"]) for cell in cells})
    commits = sorted({cell["commit"][:9] + ("-dirty" if "-dirty" in cell["commit"] else "") for cell in cells})
    notes = [
        "Each entry is a mean over the seeds (draws of labels), that of accuracy with ± its standard deviation. Seeds:"
        f" {', '.join(map(str, seeds))}; (n of m): only n are done."
    ]
    moved = [abs(cell["accuracy"] - cell["accuracy_alone"]) for cell in cells if cell["accuracy_alone"] is not None]
    if moved:
        notes.append(
            "On the test texts that occur nowhere else in the files, a cell's accuracy differs by at most"
            f" {100 * max(moved):.1f} points."
        )
    widest = max(100 * (high - low) / 2 for low, high in (cell["accuracy_interval"] for cell in cells))
    notes.append(
        f"The 95 % interval (Wilson) of a cell's accuracy, of its test texts alone, is at most ±{widest:.1f} points."
    )
    notes += [*_encoders(cells), *_budgets(cells), *_short_of_time(groups)]
    notes.append(f"Measured on: {'; '.join(machines)}. Commits: {', '.join(commits)}.")
    return notes


def _encoders(cells: Sequence[Cell]) -> list[str]:
    """Return which methods ran on which encoder, where their column does not name it."""
    methods: dict[str, set[str]] = defaultdict(set)
    for cell in cells:
        if cell["encoder"] == METHODS[cell["method"]].encoder is not None:
            methods[cell["encoder"]].add(cell["method"])
    encoders = [
        f"{encoder} ({', '.join(METHODS[name].title for name in METHODS if name in names)})"
        for encoder, names in sorted(methods.items())
    ]
    return [f"Encoders: {'; '.join(encoders)}."] if encoders else []


def _budgets(cells: Sequence[Cell]) -> list[str]:
    """Return the time budgets of tlnlp, where its column does not name them."""
    names = {cell["data"] for cell in cells if METHODS[cell["method"]].takes_budget}
    budgets = [f"{data.title} {data.budget_s:g} s" for data in DATA_SETS.values() if data.name in names]
    return [f"Time budget of tlnlp unless its column names another: {', '.join(budgets)}."] if budgets else []


def _machine(machine: dict[str, Any]) -> str:
    gpu = f", {machine['gpu']}" if "gpu" in machine else ""
    return f"{machine['cpu']}, {machine['cores']} cores{gpu}"


def _short_of_time(groups: Groups) -> list[str]:
    """Return the rows in which SetFit, its steps limited, had less time than tlnlp: none, if the limit is fair."""
    short = []
    for (data, count, column), cells in groups.items():
        other = {cell["seed"]: cell["seconds"] for cell in groups.get((data, count, "tlnlp-labels"), [])}
        if column == "setfit" and any(
            cell["n_labels"] > SETFIT_CAPPED_ABOVE and cell["seconds"] < other.get(cell["seed"], 0.0) for cell in cells
        ):
            short.append(DATA_SETS[data].title_of(count))
    return [f"SetFit had less time than tlnlp on labels alone: {'; '.join(sorted(short))}."] if short else []


def into_page(made: str, page: Path, begin: str = BEGIN, end: str = END) -> bool:
    """Write the table between two markers of ``page``; return False if it has none."""
    text = page.read_text(encoding="utf-8")
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        return False
    page.write_text(f"{before}{begin}\n{made}{end}{after}", encoding="utf-8")
    return True


def figure(cells: Sequence[Cell], path: Path) -> bool:
    """Draw accuracy by labels, with SetFit's environment, which has matplotlib; return False if it is not installed."""
    if not SETFIT.exists():
        return False
    groups = group(cells)
    panels: list[dict[str, Any]] = []
    for data in DATA_SETS.values():
        lines = []
        for column in columns(groups):
            # Labels drawn at random over the classes are another kind of draw, so they are not on these lines.
            points = [groups[data.name, count, column] for count in data.counts if (data.name, count, column) in groups]
            if points:
                lines.append({"title": _title(column), "points": [_point(cells) for cells in points]})
        if lines:
            panels.append({"title": data.title, "lines": lines})
    worker = Path(__file__).with_name("figure.py")
    subprocess.run([str(SETFIT), str(worker), str(path)], input=json.dumps(panels), text=True, check=True)
    return True


def _point(cells: Sequence[Cell]) -> tuple[int, float, float]:
    """Return the labels in all, and the mean accuracy and its standard deviation in %."""
    accuracy = [100 * cell["accuracy"] for cell in cells]
    deviation = statistics.stdev(accuracy) if len(accuracy) > 1 else 0.0
    return int(cells[0]["n_labels"]), statistics.mean(accuracy), deviation
