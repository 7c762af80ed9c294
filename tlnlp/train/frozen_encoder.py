"""What the encoder knows before it learns: how well its states tell classes apart, by labels and by their names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tlnlp.evaluate.metrics import most_standard_error
from tlnlp.model.combine import Floats, log_loss
from tlnlp.model.tokenize import TokenIds
from tlnlp.train.context import Run
from tlnlp.train.dataset import Examples
from tlnlp.train.fit.linear_head import HEAD_C, LinearHead, linear_head, unit_length
from tlnlp.train.pseudo_labels import tokenize_documents

# Of more labels, so many are enough.
FROZEN_LABELS = 1000


@dataclass(frozen=True)
class PretrainedEmbeddings:
    """States of the pretrained encoder: ``labels`` (chosen, hidden), of the labelled texts at the positions
    ``chosen``; ``names`` (named, hidden), of ``Examples.named``. ``tokens_per_s``: how fast they were read, by the
    start of the run that read them."""

    chosen: NDArray[np.int64]
    labels: Floats
    names: Floats
    tokens_per_s: float = 0.0

    @property
    def directions(self) -> Floats:
        """States of labelled texts, each of length 1."""
        return unit_length(self.labels)

    def named(self, classes: int) -> Floats:
        """Where the name of each class lies against the middle of all names, (classes, hidden)."""
        names = unit_length(self.names).reshape(-1, classes, self.names.shape[1]).mean(axis=0)
        return np.asarray(names - names.mean(axis=0))


@dataclass(frozen=True)
class ProbeRecipe:
    """How a linear head is fitted to frozen states: ``c`` as in ``linear_head``; ``named``: whether it may follow what
    the classes are called."""

    c: float = HEAD_C
    named: bool = False


PROBES = (ProbeRecipe(1.0), ProbeRecipe(10.0), ProbeRecipe(1.0, named=True))


@dataclass(frozen=True)
class Probe:
    """The head that cross-validation prefers: ``recipe``; ``held_out`` (chosen, classes): probabilities of each label
    by a head that did not see it, where ``folds`` (chosen,) hold it out."""

    recipe: ProbeRecipe
    held_out: Floats
    heads: dict[int, LinearHead]


def embed_labels(run: Run) -> PretrainedEmbeddings:
    """Read labelled texts and class names with the encoder as it was pretrained. Raises EngineError."""
    examples = run.examples
    chosen = np.random.default_rng((run.settings.seed, 5)).permutation(len(examples.texts))[:FROZEN_LABELS]
    texts = examples.cut.take(chosen) + examples.named
    states, rate = embed_as_pretrained(run, texts, "frozen", "frozen encoder")
    return PretrainedEmbeddings(chosen, states[: len(chosen)], states[len(chosen) :], rate)


def embed_as_pretrained(run: Run, tokens: TokenIds, key: str, what: str) -> tuple[Floats, float]:
    """Pooled states (texts, hidden) by the encoder as it was pretrained, and how many tokens a second were read; read
    once under a key. Raises EngineError."""
    rate = 0.0

    def read() -> Floats:
        nonlocal rate
        states, rate = run.executor.embed(tokens, None, run.examples.embedding(run.settings), what)
        return states

    states = run.artifacts.array(key, read)
    return states, float(run.artifacts.note(f"{key}-rate", lambda: {"tokens_per_s": rate})["tokens_per_s"])


def embed_documents(run: Run, key: str, texts: Sequence[str]) -> Floats:
    """States (texts, hidden) of a few documents by the encoder as it was pretrained, read once under a key.

    The labels were too few, and read by processes that had just started, to say how fast the machine is: these say it.
    """
    cut = tokenize_documents(texts, run.examples, run.settings).cut
    states, rate = embed_as_pretrained(run, cut, key, "documents looked at")
    run.time_budget.record_reading_throughput(rate)
    return states


def accuracy_by_names(frozen: PretrainedEmbeddings, examples: Examples) -> float:
    """How often labelled texts are nearest to the name of their class, on average over the classes."""
    classes = len(examples.classes)
    nearness = frozen.directions @ frozen.named(classes).T
    # Some names are near to any text.
    said = (nearness - nearness.mean(axis=0)).argmax(axis=1)
    targets = examples.targets[frozen.chosen]
    return float(np.mean([(said[targets == k] == k).mean() for k in np.unique(targets)]))


def names_contradicted(right: float, examples: Examples) -> bool:
    """Whether names are right less often than chance would be, by more than labels as few leave open."""
    return right + most_standard_error(len(examples.texts)) < 1 / len(examples.classes)


def fit_probe(
    frozen: PretrainedEmbeddings, examples: Examples, recipe: ProbeRecipe, train: NDArray[np.bool_] | None = None
) -> LinearHead | None:
    """Fit the head to all labels that were read, or to those where ``train`` (chosen,) is true."""
    classes = len(examples.classes)
    chosen = np.ones(len(frozen.chosen), dtype=bool) if train is None else train
    directions = frozen.named(classes) if recipe.named else None
    targets = examples.targets[frozen.chosen][chosen]
    return linear_head(frozen.labels[chosen], targets, classes, c=recipe.c, directions=directions)


def cross_validate_probe(
    frozen: PretrainedEmbeddings, examples: Examples, folds: NDArray[np.int64], measured: range
) -> Probe | None:
    """Choose the recipe of least log-loss over the folds (labels,); None where a fold leaves a single class.

    Few recipes are tried, so the choice flatters the figures little.
    """
    truth = np.eye(len(examples.classes))[examples.targets[frozen.chosen]]
    held = np.isin(folds[frozen.chosen], list(measured))
    found = [probe for recipe in PROBES if (probe := _over_folds(frozen, examples, recipe, folds, measured))]
    if not found or not held.any():
        return None
    return min(found, key=lambda probe: log_loss(probe.held_out[held], truth[held]))


def _over_folds(
    frozen: PretrainedEmbeddings, examples: Examples, recipe: ProbeRecipe, folds: NDArray[np.int64], measured: range
) -> Probe | None:
    if recipe.named and not len(frozen.names):
        return None
    held_out, heads = np.zeros((len(frozen.chosen), len(examples.classes))), dict[int, LinearHead]()
    for fold in measured:
        inside = folds[frozen.chosen] == fold
        head = fit_probe(frozen, examples, recipe, ~inside)
        if head is None:
            return None
        heads[fold], held_out[inside] = head, head.predict(frozen.labels[inside])
    return Probe(recipe, held_out, heads)
