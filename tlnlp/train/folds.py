"""Which labelled examples are held out of which fit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

FOLDS = 4
# With so many labels one fold alone measures well enough, and the others would only cost time.
ONE_FOLD_FROM = 2000


def stratified_folds(targets: Sequence[int], seed: int, folds: int = FOLDS) -> NDArray[np.int64]:
    """The fold of each example (examples,): every class is dealt out evenly, its remainder where folds are smallest.

    A class of a single example has none to spare: it is in no fold (-1), and in every training set.
    """
    labels = np.asarray(targets)
    generator = np.random.default_rng((seed, 1))
    places = np.full(len(labels), -1, dtype=np.int64)
    sizes = np.zeros(folds, dtype=np.int64)
    for k in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == k))
        if len(members) < 2:
            continue
        order = np.argsort(sizes + generator.random(folds))
        places[members] = order[np.arange(len(members)) % folds]
        sizes += np.bincount(places[members], minlength=folds)
    return places


def measured_folds(examples: int, folds: int = FOLDS) -> range:
    """The folds that are really held out."""
    return range(1 if examples >= ONE_FOLD_FROM else folds)
