"""Measure the ceiling of a data set: the accuracy of an encoder fine-tuned on every label of the training file.

    python tests/bench/ceiling.py imdb [e5-small-v2]

A method with few labels and a pool is judged by how much of the gap to this accuracy it closes.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from cells import CELLS, Cell, data_folder, figures, origin, write_json
from draws import DATA_SETS, SEEDS, draw, every_label
from tasks import ENCODER, Task

from tlnlp.runs import environment

# So many labels need fewer passes than few labels do.
EPOCHS = 3


def main(arguments: list[str]) -> int:
    """Measure, write the result beside the cells, print it, and return the exit code."""
    from torch_methods import plain

    folder, data, seed = data_folder(), DATA_SETS[arguments[0]], SEEDS[0]
    drawn = every_label(data, draw(data, data.counts[0], seed, folder, dev=False), folder)
    encoder = arguments[1] if len(arguments) > 1 else ENCODER
    with tempfile.TemporaryDirectory(prefix="ceiling-") as scratch:
        outcome = plain(Task(data, drawn, seed, None, Path(scratch), encoder), EPOCHS)
    cell = Cell(data.name, len(drawn.labels.texts), "plain", seed, encoder=encoder)
    result = figures(cell, drawn, outcome) | origin(outcome)
    write_json(CELLS.with_name(f"ceiling-{data.name}-{Path(encoder).name}.json"), result)
    print(json.dumps(result, indent=1))
    return 0


if __name__ == "__main__":
    environment.apply_defaults()
    sys.exit(main(sys.argv[1:]))
