"""A cell: data set, label count, method and seed; its result is one JSON file, written once."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
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

from tlnlp.evaluate.findings import wilson
from tlnlp.evaluate.metrics import evaluate
from tlnlp.model.combine import Floats

ROOT = Path(__file__).parents[2]
CELLS = ROOT / "tests" / "bench" / "cells"
DEV_CELLS = ROOT / "build" / "bench-dev"
# What a benchmark itself writes, and no result depends on.
WRITTEN = ("tests/bench/cells", "tests/bench/ceiling-*.json", "tests/bench/fewshot.png", "README.md")
PACKAGES = ("tlnlp", "numpy", "scikit-learn", "torch", "transformers", "tokenizers", "onnxruntime", "ray")


@dataclass(frozen=True)
class Cell:
    """``labels``: a count of the data set; ``budget_s``: None for the data set's own, or where a method has none.

    ``encoder``: a name or a folder; None for the method's own, or where it has none.
    """

    data: str
    labels: int
    method: str
    seed: int
    budget_s: float | None = None
    encoder: str | None = None

    @property
    def encoder_taken(self) -> str | None:
        """The encoder that the method is given."""
        own = METHODS[self.method].encoder
        return own if own is None else self.encoder or own

    @property
    def seconds_allowed(self) -> float | None:
        """The time budget that the method is given."""
        if not METHODS[self.method].takes_budget:
            return None
        return DATA_SETS[self.data].budget_s if self.budget_s is None else self.budget_s

    @property
    def column(self) -> str:
        """The method, with its encoder and budget where they are not its own, and the GPU where there is one."""
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
    """The cells asked for, a seed after the other, so that what is done at any time is a whole table; empty: all."""
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
    """Where the files of the data sets are."""
    return Path(os.environ.get("TLNLP_DATA") or ROOT.parent / "shared" / "data")


def run_cell(cell: Cell, files: Path, cells: Path, dev: bool) -> dict[str, Any] | None:
    """Run a cell and write its file; None if the file is there already.

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
    result = figures(cell, drawn, outcome) | origin(outcome) | {"dev": dev}
    write_json(path, result)
    return result


def figures(cell: Cell, drawn: Draw, outcome: Outcome) -> dict[str, Any]:
    """What a cell found; ``seconds`` of training, ``predict_s`` of prediction, both wall time.

    ``accuracy_interval`` holds 95 % and speaks of the test texts alone, not of other draws of labels.
    """
    probabilities, classes = _of_all_classes(outcome, drawn)
    targets = np.array([classes.index(label) for label in drawn.test.labels], dtype=np.int64)
    found = evaluate(probabilities, targets, classes)
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
        "accuracy": round(found.accuracy, 6),
        "accuracy_interval": [round(end, 6) for end in wilson(int(hits.sum()), len(targets))],
        "accuracy_alone": round(float(hits[alone].mean()), 6) if alone.any() else None,
        "n_alone": int(alone.sum()),
        "macro_f1": round(found.macro_f1, 6),
        "ece": round(found.ece, 6),
        "seconds": round(outcome.seconds, 2),
        "predict_s": round(outcome.predict_s, 2),
        "n_test": len(targets),
        "details": outcome.details,
    }


def _of_all_classes(outcome: Outcome, drawn: Draw) -> tuple[Floats, tuple[str, ...]]:
    """Probabilities with a column of zeros for each class that no label was drawn of, and all the classes."""
    unseen = tuple(label for label in drawn.classes if label not in outcome.classes)
    nothing = np.zeros((len(outcome.probabilities), len(unseen)))
    return np.hstack([outcome.probabilities, nothing]), (*outcome.classes, *unseen)


def origin(outcome: Outcome) -> dict[str, Any]:
    """How, from which commit, on what and when a result came about."""
    return {
        "command": outcome.command,
        "commit": commit(),
        "machine": machine(),
        "versions": {"python": platform.python_version()} | (outcome.versions or _versions()),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
    }


def commit() -> str:
    """The commit, with ``-dirty`` if anything that could change a result is not committed."""
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
    others = [f":(exclude){path}" for path in WRITTEN]
    command = ["git", "status", "--porcelain", "--", ".", *others]
    status = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return head.stdout.strip() + ("-dirty" if status.stdout.strip() else "")


def machine() -> dict[str, Any]:
    """Processor and how many of its cores this process may use."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    found: dict[str, Any] = {"cpu": names[0] if names else platform.machine(), "cores": len(os.sched_getaffinity(0))}
    return found | ({"gpu": gpu()} if gpu() is not None else {})


@cache
def gpu() -> str | None:
    """Model of the first GPU of NVIDIA's driver; None where there is none."""
    for told in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        for line in told.read_text().splitlines():
            if line.startswith("Model:"):
                return line.partition(":")[2].strip()
    return None


def _versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in PACKAGES}


def write_json(path: Path, value: dict[str, Any]) -> None:
    """The whole file or none, however the process ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_text(json.dumps(value, indent=1) + "\n")
    unfinished.replace(path)


def read_cells(cells: Path) -> list[dict[str, Any]]:
    """Every finished cell of a folder, by name."""
    return [json.loads(path.read_text()) for path in sorted(cells.glob("*.json"))]
