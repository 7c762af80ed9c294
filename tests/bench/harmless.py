"""Measure whether documents with shuffled words make a model worse. The gate accepts such documents.

    python tests/bench/harmless.py [--data agnews] [--budget 300]

The program prints a JSON line for each data set: the accuracy of labels alone, the accuracy with such documents, their
difference, and its standard error. A loss of at most two standard errors is harmless. Draws are development draws of
the first seed of documents_gate.py.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from cells import commit, data_folder
from documents_gate import OTHER, SEEDS, sample, shuffled
from draws import DATA_SETS, Draw, draw
from methods import run_method
from numpy.typing import NDArray
from tasks import AUTO, MethodError, Task

from tlnlp.evaluate.metrics import paired_standard_error
from tlnlp.runs import environment

TEST_TEXTS, DOCUMENTS = 1000, 6000
STANDARD_ERRORS = 2.0


def with_shuffled(drawn: Draw, seed: int) -> Draw:
    """Return the draw with fewer test texts, and with documents whose words are in random order."""
    generator = np.random.default_rng((seed, 9))
    pool = tuple(shuffled(sample(drawn.pool, DOCUMENTS, generator), generator))
    test = drawn.test.take(range(min(TEST_TEXTS, len(drawn.test.texts))))
    return replace(drawn, test=test, alone=drawn.alone[: len(test.texts)], pool=pool)


def hits(method: str, task: Task) -> NDArray[np.bool_]:
    """Return for each test text whether the method predicts its label. Raises MethodError."""
    outcome = run_method(method, task)
    predicted = np.asarray(outcome.classes)[outcome.probabilities.argmax(axis=1)]
    return np.asarray(predicted == np.asarray(task.drawn.test.labels))


def compared(alone: NDArray[np.bool_], with_documents: NDArray[np.bool_]) -> dict[str, Any]:
    """Return both accuracies, their difference, its standard error, and whether the documents are harmless."""
    difference = float(with_documents.mean() - alone.mean())
    error = paired_standard_error(alone, with_documents)
    figures = {"labels_alone": float(alone.mean()), "with_shuffled": float(with_documents.mean()), "n": len(alone)}
    return figures | {
        "difference": round(difference, 4),
        "standard_error": round(error, 4),
        "harmless": difference >= -STANDARD_ERRORS * error,
    }


def main(arguments: Sequence[str]) -> int:
    """Run the comparison on each data set and return the exit code."""
    parser = argparse.ArgumentParser(description="Are documents of shuffled words harmless?")
    parser.add_argument("--data", action="append", choices=list(OTHER))
    parser.add_argument("--budget", type=float, default=300.0, help="time budget with documents, in seconds")
    asked = parser.parse_args(arguments)
    for name in asked.data or OTHER:
        data = replace(DATA_SETS[name], unlabelled=False)
        fewest = min(count for count in data.counts if count)
        drawn = with_shuffled(draw(data, fewest, SEEDS[0], data_folder(), dev=True), SEEDS[0])
        found = []
        try:
            for method in ("tlnlp-labels", "tlnlp"):
                with tempfile.TemporaryDirectory(prefix="harmless-") as scratch:
                    drawn.write(Path(scratch))
                    found.append(hits(method, Task(data, drawn, SEEDS[0], asked.budget, Path(scratch), AUTO)))
        except MethodError as error:
            print(error, file=sys.stderr)
            return 1
        print(json.dumps({"data": name, "labels": fewest} | compared(*found) | {"commit": commit()}), flush=True)
    return 0


if __name__ == "__main__":
    environment.apply_defaults()
    sys.exit(main(sys.argv[1:]))
