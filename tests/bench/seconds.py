"""Measure the seconds from command to model, on few labels alone, of tlnlp and SetFit, each in its own process.

    python tests/bench/seconds.py --data agnews --labels 8 --seed 1 [--encoder e5-small-v2]

The program prints one JSON line: the wall seconds of ``tlnlp finetune`` until the version is registered, those of
SetFit until its model is saved, their ratio, and the load of the machine before. Other work on the machine makes the
figures worthless.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cells import commit, data_folder, machine
from draws import DATA_SETS, SEEDS, Draw, draw
from methods import METHODS, run_method
from tasks import AUTO, ENCODER, MethodError, Task

from tlnlp.runs import environment

# Each method also predicts the test texts; so few take no time.
TEST_TEXTS = 10
# A load above this, in cores, means that other work is running.
IDLE = 0.5


def few_tests(drawn: Draw) -> Draw:
    """Return the draw with a few test texts and no pool."""
    return replace(drawn, test=drawn.test.take(range(TEST_TEXTS)), alone=drawn.alone[:TEST_TEXTS], pool=())


def measure(data: str, count: int, seed: int, encoder: str | None) -> dict[str, float]:
    """Return the seconds of each method on the same draw.

    Raises:
        MethodError: a method's process failed.
    """
    chosen = DATA_SETS[data]
    drawn = few_tests(draw(chosen, count, seed, data_folder(), dev=True))
    found = {}
    for method in ("tlnlp-labels", "setfit"):
        own = METHODS[method].encoder or ENCODER
        with tempfile.TemporaryDirectory(prefix="seconds-") as scratch:
            drawn.write(Path(scratch))
            outcome = run_method(method, Task(chosen, drawn, seed, None, Path(scratch), encoder or own))
        # SetFit's ``seconds`` are those of training; here the start of its process counts too, as for tlnlp.
        found[method] = round(float(outcome.details.get("process_s", outcome.seconds)), 1)
    return found


def main(arguments: Sequence[str]) -> int:
    """Measure, print the figures, and return the exit code."""
    parser = argparse.ArgumentParser(description="Seconds from command to model, of tlnlp and of SetFit.")
    parser.add_argument("--data", choices=list(DATA_SETS), default="agnews")
    parser.add_argument("--labels", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--encoder", help=f"encoder of both [default: {ENCODER} for SetFit, {AUTO} for tlnlp]")
    asked = parser.parse_args(arguments)
    if asked.seed in SEEDS or asked.labels not in DATA_SETS[asked.data].every_count or asked.labels == 0:
        print(
            f"choose a seed other than {SEEDS}, which the table uses, and a count of tests/bench/draws.py above 0",
            file=sys.stderr,
        )
        return 2
    load = os.getloadavg()[0]
    if load > IDLE:
        print(
            f"the load is {load:.1f} cores: other work is running, which makes these seconds worthless", file=sys.stderr
        )
    try:
        measured = measure(asked.data, asked.labels, asked.seed, asked.encoder)
    except MethodError as error:
        print(error, file=sys.stderr)
        return 1
    figures = {"data": asked.data, "labels": asked.labels, "seed": asked.seed, "encoder": asked.encoder}
    figures |= {"tlnlp_s": measured["tlnlp-labels"], "setfit_s": measured["setfit"]}
    figures |= {"ratio": round(measured["tlnlp-labels"] / measured["setfit"], 3), "load_before": round(load, 2)}
    print(json.dumps(figures | {"machine": machine(), "commit": commit()}))
    return 0


if __name__ == "__main__":
    environment.apply_defaults()
    sys.exit(main(sys.argv[1:]))
