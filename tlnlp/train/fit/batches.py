"""Which examples each step of a fit reads, and how fast it learns: functions of (seed, step) alone.

So a fit that resumes from a checkpoint, or runs on another number of workers, goes on with the same batches.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tlnlp.config import TrainingSettings


def steps_of(examples: int, recipe: TrainingSettings) -> int:
    """Steps of a fit on labels: so many passes over them, within the limits of the recipe."""
    wanted, most = (math.ceil(examples * passes / recipe.batch_size) for passes in (recipe.epochs, recipe.max_passes))
    return min(max(wanted, min(most, recipe.min_steps)), recipe.max_steps)


def batches(examples: int, batch_size: int, seed: int, start: int, stop: int) -> Iterator[NDArray[np.int64]]:
    """Positions of the examples of steps ``start`` to ``stop``: shuffled epochs without end, cut in batches."""
    epoch, drawn = -1, np.zeros(0, dtype=np.int64)
    for step in range(start, stop):
        wanted = np.arange(step * batch_size, (step + 1) * batch_size)
        parts = []
        for number in np.unique(wanted // examples):
            if number != epoch:
                epoch, drawn = int(number), np.random.default_rng((seed, int(number))).permutation(examples)
            parts.append(drawn[wanted[wanted // examples == number] % examples])
        yield np.concatenate(parts)


def balanced_batches(
    labels: NDArray[np.int64], batch_size: int, seed: int, start: int, stop: int
) -> Iterator[NDArray[np.int64]]:
    """As ``batches``, with the classes in turn, so that each step sees texts to draw together and to keep apart.

    A batch takes two texts or more of as many classes as it has room for; over the steps all classes come alike.
    """
    members = [np.flatnonzero(labels == k) for k in np.unique(labels)]
    together = min(len(members), max(1, batch_size // 2))
    of_class = [batches(len(positions), 1, seed * 1009 + k, 0, 1 << 62) for k, positions in enumerate(members)]
    turns = batches(len(members), together, seed, 0, stop)
    for step in range(stop):
        classes = np.resize(next(turns), batch_size)
        drawn = np.array([members[k][next(of_class[k])[0]] for k in classes])
        if step >= start:
            yield drawn


def learning_rate_scale(step: int, steps: int, warmup_share: float) -> float:
    """Linear warm-up, then linear decay to nothing."""
    warmup = max(1, round(steps * warmup_share))
    return (step + 1) / warmup if step < warmup else max(0.0, (steps - step) / max(1, steps - warmup))
