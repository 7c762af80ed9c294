"""The cells of the benchmark. A cell is a data set, a label count, a method and a seed; its result is one JSON file."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from draws import DATA_SETS, DEV_SEEDS, SEEDS, Draw, draw
from methods import METHODS, run_method
from tasks import ENCODER, Outcome, Task

from tlnlp.evaluate.intervals import wilson
from tlnlp.evaluate.metrics import evaluate
from tlnlp.model.combine import Floats

ROOT = Path(__file__).parents[2]
CELLS = ROOT / "tests" / "bench" / "cells"
DEV_CELLS = ROOT / "build" / "bench-dev"
# Files that the benchmark writes. No result depends on them.
WRITTEN = ("tests/bench/cells", "tests/bench/ceiling-*.json", "tests/bench/fewshot.png", "docs/benchmarks.md")
PACKAGES = ("tlnlp", "numpy", "scikit-learn", "torch", "transformers", "tokenizers", "onnxruntime", "ray")


@dataclass(frozen=True)
class Cell:
    """One cell.

    ``labels``: a count of the data set. ``budget_s``: time budget in seconds; None for that of the data set, or if the
    method has none. ``encoder``: a name or a folder; None for that of the method, or if the method has none.
    """

    data: str
    labels: int
    method: str
    seed: int
    budget_s: float | None = None
    encoder: str | None = None

    @property
    def encoder_taken(self) -> str | None:
        """Return the encoder that the method gets; None if it has none."""
        own = METHODS[self.method].encoder
        return own if own is None else self.encoder or own

    @property
    def seconds_allowed(self) -> float | None:
        """Return the time budget that the method gets, in seconds; None if it has none."""
        if not METHODS[self.method].takes_budget:
            return None
        return DATA_SETS[self.data].budget_s if self.budget_s is None else self.budget_s

    @property
    def column(self) -> str:
        """Return the method, with the encoder and budget if they are not its defaults, and with ``gpu`` on a GPU."""
        allowed, others = self.seconds_allowed, list[str]()
        if self.encoder_taken not in (None, METHODS[self.method].encoder):
            others.append(Path(str(self.encoder_taken)).name)
        if allowed not in (None, DATA_SETS[self.data].budget_s):
            others.append(f"{allowed:g}s")
        if gpu() is not None:
            others.append("gpu")
        return "@".join([self.method, *others])

    @property
    def name(self) -> str:
        """Return the name of the cell's file."""
        return f"{self.data}-{self.labels}-{self.column}-{self.seed}.json"


def grid(
    data: Iterable[str] = (),
    labels: Iterable[int] = (),
    methods: Iterable[str] = (),
    seeds: Iterable[int] = (),
    budget_s: float | None = None,
    dev: bool = False,
    encoder: str | None = None,
) -> list[Cell]:
    """Return the cells of the given values; an empty value means all.

    The cells of one seed come before those of the next, so that a benchmark that is stopped leaves a whole table.
    """
    wanted_data, wanted_labels, wanted = set(data), set(labels), set(methods)
    return [
        Cell(one.name, count, method, seed, budget_s, encoder)
        for seed in (tuple(seeds) or (DEV_SEEDS if dev else SEEDS))
        for one in DATA_SETS.values()
        for count in one.every_count
        for method in METHODS
        if (not wanted_data or one.name in wanted_data)
        and (not wanted_labels or count in wanted_labels)
        and (not wanted or method in wanted)
        and METHODS[method].takes(encoder, count)
    ]


def data_folder() -> Path:
    """Return the folder with the files of the data sets."""
    return Path(os.environ.get("TLNLP_DATA") or ROOT.parent / "shared" / "data")


def run_cell(cell: Cell, files: Path, cells: Path, dev: bool, keep: Path | None = None) -> dict[str, Any] | None:
    """Run a cell, write its file and return its result; None if the file exists.

    Args:
        keep: a folder for the registry with the version that tlnlp makes; None: it is thrown away.

    Raises:
        MethodError: the method failed; nothing is written.
    """
    path = cells / cell.name
    if path.exists():
        return None
    data = DATA_SETS[cell.data]
    drawn = draw(data, cell.labels, cell.seed, files, dev)
    with tempfile.TemporaryDirectory(prefix="fewshot-") as scratch:
        drawn.write(Path(scratch))
        encoder = cell.encoder_taken or ENCODER
        outcome = run_method(cell.method, Task(data, drawn, cell.seed, cell.seconds_allowed, Path(scratch), encoder))
        if keep is not None and (made := Path(scratch, "registry")).exists():
            shutil.copytree(made, keep / path.stem)
    result = figures(cell, drawn, outcome) | origin(outcome) | {"dev": dev}
    write_json(path, result)
    return result


def figures(cell: Cell, drawn: Draw, outcome: Outcome) -> dict[str, Any]:
    """Return the figures of a cell. ``seconds`` (training) and ``predict_s`` (prediction) are wall times.

    ``accuracy_interval`` is the 95 % interval over test texts; it does not cover other draws of labels.
    """
    probabilities, classes = _of_all_classes(outcome, drawn)
    targets = np.array([classes.index(label) for label in drawn.test.labels], dtype=np.int64)
    metrics = evaluate(probabilities, targets, classes)
    hits = probabilities.argmax(axis=1) == targets
    alone = np.array(drawn.alone, dtype=bool)
    return {
        "data": cell.data,
        "labels": cell.labels,
        "n_labels": len(drawn.labels.texts),
        "n_pool": len(drawn.pool) if METHODS[cell.method].takes_pool else 0,
        "method": cell.method,
        "encoder": cell.encoder_taken,
        "column": cell.column,
        "seed": cell.seed,
        "budget_s": cell.seconds_allowed,
        "accuracy": round(metrics.accuracy, 6),
        "accuracy_interval": [round(end, 6) for end in wilson(int(hits.sum()), len(targets))],
        "accuracy_alone": round(float(hits[alone].mean()), 6) if alone.any() else None,
        "n_alone": int(alone.sum()),
        "macro_f1": round(metrics.macro_f1, 6),
        "ece": round(metrics.ece, 6),
        "seconds": round(outcome.seconds, 2),
        "predict_s": round(outcome.predict_s, 2),
        "n_test": len(targets),
        "details": outcome.details,
    }


def _of_all_classes(outcome: Outcome, drawn: Draw) -> tuple[Floats, tuple[str, ...]]:
    """Return the probabilities with a column of zeros for each class without a label, and all the classes."""
    unseen = tuple(label for label in drawn.classes if label not in outcome.classes)
    nothing = np.zeros((len(outcome.probabilities), len(unseen)))
    return np.hstack([outcome.probabilities, nothing]), (*outcome.classes, *unseen)


def origin(outcome: Outcome) -> dict[str, Any]:
    """Return the command, commit, machine, versions and date of a result."""
    return {
        "command": outcome.command,
        "commit": commit(),
        "machine": machine(),
        "versions": {"python": platform.python_version()} | (outcome.versions or _versions()),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
    }


def commit() -> str:
    """Return the commit, with ``-dirty`` if a file that could change a result is not committed."""
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
    others = [f":(exclude){path}" for path in WRITTEN]
    command = ["git", "status", "--porcelain", "--", ".", *others]
    status = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return head.stdout.strip() + ("-dirty" if status.stdout.strip() else "")


def machine() -> dict[str, Any]:
    """Return the processor, the number of cores that this process may use, and the GPU if there is one."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    found: dict[str, Any] = {"cpu": names[0] if names else platform.machine(), "cores": len(os.sched_getaffinity(0))}
    return found | ({"gpu": gpu()} if gpu() is not None else {})


@cache
def gpu() -> str | None:
    """Return the model of the first NVIDIA GPU; None if there is none."""
    for file in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        for line in file.read_text().splitlines():
            if line.startswith("Model:"):
                return line.partition(":")[2].strip()
    return None


def _versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in PACKAGES}


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write a JSON file at once, so that a process that is stopped leaves no partial file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_text(json.dumps(value, indent=1) + "\n")
    unfinished.replace(path)


def read_cells(cells: Path) -> list[dict[str, Any]]:
    """Return every finished cell of a folder, in the order of the file names."""
    return [json.loads(path.read_text()) for path in sorted(cells.glob("*.json"))]
