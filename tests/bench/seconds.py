"""Seconds from command to model on few labels alone: tlnlp, then SetFit, each a process of its own.

    python tests/bench/seconds.py --data agnews --labels 8 --seed 1 [--encoder e5-small-v2]

One JSON line: wall seconds of ``tlnlp finetune`` to the registered version, of SetFit to its saved model, their ratio,
and the machine's load beforehand: other work beside it makes the figures worthless.
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

# Both predict a few test texts, as the benchmark's methods do; so few take no time.
TEST_TEXTS = 10
# A load beyond this, of one core, is other work.
IDLE = 0.5


def few_tests(drawn: Draw) -> Draw:
    return replace(drawn, test=drawn.test.take(range(TEST_TEXTS)), alone=drawn.alone[:TEST_TEXTS], pool=())


def measure(data: str, count: int, seed: int, encoder: str | None) -> dict[str, float]:
    """Seconds of either method on the same draw.

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
        # The seconds of a cell are SetFit's training alone; here the start of its process counts, as for tlnlp.
        found[method] = round(float(outcome.details.get("process_s", outcome.seconds)), 1)
    return found


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description="Seconds from command to model: tlnlp beside SetFit.")
    parser.add_argument("--data", choices=list(DATA_SETS), default="agnews")
    parser.add_argument("--labels", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--encoder", help=f"of both; else {ENCODER} for SetFit, and {AUTO} for tlnlp")
    asked = parser.parse_args(arguments)
    if asked.seed in SEEDS or asked.labels not in DATA_SETS[asked.data].every_count or asked.labels == 0:
        print(f"seeds {SEEDS} are of the table; labels are a count of tests/bench/draws.py but 0", file=sys.stderr)
        return 2
    load = os.getloadavg()[0]
    if load > IDLE:
        print(f"load is {load:.1f}: other work beside it makes these seconds worthless", file=sys.stderr)
    try:
        found = measure(asked.data, asked.labels, asked.seed, asked.encoder)
    except MethodError as error:
        print(error, file=sys.stderr)
        return 1
    told = {"data": asked.data, "labels": asked.labels, "seed": asked.seed, "encoder": asked.encoder}
    told |= {"tlnlp_s": found["tlnlp-labels"], "setfit_s": found["setfit"]}
    told |= {"ratio": round(found["tlnlp-labels"] / found["setfit"], 3), "load_before": round(load, 2)}
    print(json.dumps(told | {"machine": machine(), "commit": commit()}))
    return 0


if __name__ == "__main__":
    environment.apply_defaults()
    sys.exit(main(sys.argv[1:]))
