"""Which labelled examples are held out to fit the combination of the two views."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

MIN_HELD_OUT = 8


def stratified_holdout(targets: Sequence[int], share: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions to train on and positions to hold out, by class.

    Every class keeps at least two examples to train on. Nothing is held out where fewer than eight texts could be.
    """
    labels = np.asarray(targets)
    generator = np.random.default_rng((seed, 1))
    held: list[NDArray[np.int64]] = []
    for k in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == k))
        held.append(members[: min(round(len(members) * share), max(0, len(members) - 2))])
    held_out = np.sort(np.concatenate(held))
    if len(held_out) < MIN_HELD_OUT:
        held_out = np.zeros(0, dtype=np.int64)
    return np.setdiff1d(np.arange(len(labels)), held_out), held_out
