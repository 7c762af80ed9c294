"""Choose the examples and the learning rate of each training step.

Both depend on (seed, step) alone. A fit that resumes from a checkpoint, or that runs on another number of workers,
therefore reads the same batches.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tlnlp.config import TrainingSettings


def steps_of(examples: int, recipe: TrainingSettings) -> int:
    """Return the number of steps of a fit on labels.

    The number is ``epochs`` passes over the examples, but at least ``min_steps`` as long as those steps make no more
    than ``max_passes`` passes, and never more than ``max_steps``.
    """
    wanted, most = (math.ceil(examples * passes / recipe.batch_size) for passes in (recipe.epochs, recipe.max_passes))
    return min(max(wanted, min(most, recipe.min_steps)), recipe.max_steps)


def batches(examples: int, batch_size: int, seed: int, start: int, stop: int) -> Iterator[NDArray[np.int64]]:
    """Yield the positions of the examples of each step from ``start`` to ``stop``, exclusive.

    The examples of all steps form one stream of shuffled epochs. A step takes the next ``batch_size`` of the stream.
    """
    epoch, order = -1, np.zeros(0, dtype=np.int64)
    for step in range(start, stop):
        wanted = np.arange(step * batch_size, (step + 1) * batch_size)
        parts = []
        for number in np.unique(wanted // examples):
            if number != epoch:
                epoch, order = int(number), np.random.default_rng((seed, int(number))).permutation(examples)
            parts.append(order[wanted[wanted // examples == number] % examples])
        yield np.concatenate(parts)


def balanced_batches(
    labels: NDArray[np.int64], batch_size: int, seed: int, start: int, stop: int
) -> Iterator[NDArray[np.int64]]:
    """Yield the positions of the examples of each step, with two or more texts of each class in a batch.

    The contrastive loss needs pairs of one class and pairs of two classes in every batch. A batch holds as many classes
    as it has room for; over the steps all classes occur equally often.

    Args:
        labels: class indices (texts,).
    """
    members = [np.flatnonzero(labels == k) for k in np.unique(labels)]
    classes_per_batch = min(len(members), max(1, batch_size // 2))
    of_class = [batches(len(positions), 1, seed * 1009 + k, 0, 1 << 62) for k, positions in enumerate(members)]
    turns = batches(len(members), classes_per_batch, seed, 0, stop)
    for step in range(stop):
        classes = np.resize(next(turns), batch_size)
        positions = np.array([members[k][next(of_class[k])[0]] for k in classes])
        if step >= start:
            yield positions


def learning_rate_scale(step: int, steps: int, warmup_share: float) -> float:
    """Return the factor of the peak learning rate at a step: linear warm-up to 1, then linear decay to 0."""
    warmup = max(1, round(steps * warmup_share))
    return (step + 1) / warmup if step < warmup else max(0.0, (steps - step) / max(1, steps - warmup))
