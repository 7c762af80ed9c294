"""Stratified folds of the labelled examples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

FOLDS = 4
# From this many labels on, one held-out fold measures well enough; more folds would only cost time.
ONE_FOLD_FROM = 2000


def stratified_folds(targets: Sequence[int], seed: int, folds: int = FOLDS) -> NDArray[np.int64]:
    """Return the fold of each example, (examples,), with every class spread evenly over the folds.

    What remains of a class goes to the smallest folds. The only example of a class is in no fold (-1), and so in every
    training set.
    """
    labels = np.asarray(targets)
    generator = np.random.default_rng((seed, 1))
    fold_of = np.full(len(labels), -1, dtype=np.int64)
    sizes = np.zeros(folds, dtype=np.int64)
    for k in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == k))
        if len(members) < 2:
            continue
        order = np.argsort(sizes + generator.random(folds))
        fold_of[members] = order[np.arange(len(members)) % folds]
        sizes += np.bincount(fold_of[members], minlength=folds)
    return fold_of


def measured_folds(examples: int, folds: int = FOLDS) -> range:
    """Return the folds that are held out: all of them, or only the first where the examples are many."""
    return range(1 if examples >= ONE_FOLD_FROM else folds)
