"""What the encoder knows before it learns: how well its states tell classes apart, by labels and by their names."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from tlnlp.config import FinetuneSettings
from tlnlp.model.combine import Floats
from tlnlp.train.crossval import CrossValidation
from tlnlp.train.examples import Examples
from tlnlp.train.kept import Kept
from tlnlp.train.metrics import most_standard_error
from tlnlp.train.tasks import states_of

# Of more labels, so many are enough.
FROZEN_LABELS = 1000


@dataclass(frozen=True)
class Frozen:
    """States of the pretrained encoder, each of length 1: ``labels`` (chosen, hidden), of the labelled texts at the
    positions ``chosen``; ``names`` (named, hidden), of ``Examples.named``."""

    chosen: NDArray[np.int64]
    labels: Floats
    names: Floats


def read_frozen(examples: Examples, settings: FinetuneSettings, kept: Kept) -> Frozen:
    """Raises EngineError."""
    chosen = np.random.default_rng((settings.seed, 5)).permutation(len(examples.texts))[:FROZEN_LABELS]
    texts = examples.cut.take(chosen) + examples.named
    reading = examples.reading(settings)
    states = kept.array("frozen", lambda: states_of(texts, None, reading, settings.ray, "frozen encoder"))
    directions = states / np.linalg.norm(states, axis=1, keepdims=True)
    return Frozen(chosen, directions[: len(chosen)], directions[len(chosen) :])


def right_by_names(frozen: Frozen, examples: Examples) -> float:
    """How often labelled texts are nearest to the name of their class, on average over the classes."""
    classes = len(examples.classes)
    names = frozen.names.reshape(-1, classes, frozen.names.shape[1]).mean(axis=0)
    nearness = frozen.labels @ names.T
    # Some names are near to any text.
    said = (nearness - nearness.mean(axis=0)).argmax(axis=1)
    targets = examples.targets[frozen.chosen]
    return float(np.mean([(said[targets == k] == k).mean() for k in np.unique(targets)]))


def contradicted(right: float, examples: Examples) -> bool:
    """Whether names are right less often than chance would be, by more than labels as few leave open."""
    return right + most_standard_error(len(examples.texts)) < 1 / len(examples.classes)


def frozen_baseline(frozen: Frozen, examples: Examples, found: CrossValidation) -> tuple[Floats, NDArray[np.int64]]:
    """Logistic regression on frozen states, over the folds of the cross-validation: guesses, and the positions they are
    of."""
    chosen, states = frozen.chosen, frozen.labels
    guesses = np.zeros((len(chosen), len(examples.classes)))
    for fold in found.measured:
        train, held_out = found.folds[chosen] != fold, found.folds[chosen] == fold
        targets = examples.targets[chosen][train]
        if len(np.unique(targets)) < 2 or not held_out.any():
            continue
        model = LogisticRegression(C=10.0, max_iter=1000).fit(states[train], targets)
        guesses[np.ix_(held_out, model.classes_)] = model.predict_proba(states[held_out])
    measured = np.isin(found.folds[chosen], list(found.measured))
    return guesses[measured], chosen[measured]
