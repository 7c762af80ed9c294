"""The pretrained encoder before fine-tuning: embeddings of labels and class names, and linear heads on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tlnlp.evaluate.metrics import most_standard_error
from tlnlp.model.calibration import log_loss
from tlnlp.model.combine import Floats
from tlnlp.model.tokenize import TokenIds
from tlnlp.train.context import Run
from tlnlp.train.dataset import Examples
from tlnlp.train.fit.linear_head import LinearHead, linear_head, unit_length
from tlnlp.train.pseudo_labels import tokenize_documents
from tlnlp.train.tuned_constants import TUNED

# Labelled texts that are embedded at most; a linear head needs no more.
FROZEN_LABELS = 1000


@dataclass(frozen=True)
class PretrainedEmbeddings:
    """Embeddings by the pretrained encoder.

    Fields:
        chosen: positions of the labelled texts that were embedded, (chosen,).
        labels: embeddings of these texts, (chosen, hidden).
        names: embeddings of ``Examples.class_name_examples``, (names, hidden).
        tokens_per_s: the throughput of embedding, as measured by the start of the run that embedded them.
    """

    chosen: NDArray[np.int64]
    labels: Floats
    names: Floats
    tokens_per_s: float = 0.0

    @property
    def directions(self) -> Floats:
        """Return the embeddings of labelled texts, each scaled to length 1, (chosen, hidden)."""
        return unit_length(self.labels)

    def name_directions(self, classes: int) -> Floats:
        """Return the embedding of each class name relative to the mean of all names, (classes, hidden)."""
        names = unit_length(self.names).reshape(-1, classes, self.names.shape[1]).mean(axis=0)
        return np.asarray(names - names.mean(axis=0))


@dataclass(frozen=True)
class ProbeRecipe:
    """How a linear head is fitted to pretrained embeddings.

    Fields:
        c: inverse strength of the ridge penalty, as in ``linear_head``.
        with_names: whether the penalty is lighter along the directions of the class names.
    """

    c: float = TUNED.head_c
    with_names: bool = False


PROBES = (ProbeRecipe(1.0), ProbeRecipe(10.0), ProbeRecipe(1.0, with_names=True))


@dataclass(frozen=True)
class Probe:
    """Cross-validated linear heads of one recipe.

    Fields:
        recipe: how the heads were fitted.
        held_out: probabilities (chosen, classes) of held-out labels by the head that did not see them; others are 0.
        heads: the head of each held-out fold.
    """

    recipe: ProbeRecipe
    held_out: Floats
    heads: dict[int, LinearHead]


def embed_labels(run: Run) -> PretrainedEmbeddings:
    """Embed labelled texts and class names with the pretrained encoder.

    Raises:
        EngineError: a piece of work failed.
    """
    examples = run.examples
    chosen = np.random.default_rng((run.settings.seed, 5)).permutation(len(examples.texts))[:FROZEN_LABELS]
    texts = examples.cut.take(chosen) + examples.class_name_examples
    states, rate = embed_as_pretrained(run, texts, "frozen", "frozen encoder")
    return PretrainedEmbeddings(chosen, states[: len(chosen)], states[len(chosen) :], rate)


def embed_as_pretrained(run: Run, tokens: TokenIds, key: str, what: str) -> tuple[Floats, float]:
    """Return embeddings (texts, hidden) by the pretrained encoder, and the throughput in tokens per second.

    They are computed once under a key, and then read from the resume cache.

    Raises:
        EngineError: a piece of work failed.
    """
    rate = 0.0

    def read() -> Floats:
        nonlocal rate
        states, rate = run.executor.embed(tokens, None, run.examples.embedding(run.settings), what)
        return states

    states = run.resume_cache.array(key, read)
    return states, float(run.resume_cache.note(f"{key}-rate", lambda: {"tokens_per_s": rate})["tokens_per_s"])


def embed_documents(run: Run, key: str, texts: Sequence[str]) -> Floats:
    """Return embeddings (texts, hidden) of some documents by the pretrained encoder, computed once under a key.

    Their throughput is recorded too: it is more precise than that of the labels, which are few and were embedded by
    processes that had just started.

    Raises:
        EngineError: a piece of work failed.
    """
    cut = tokenize_documents(texts, run.examples, run.settings).cut
    states, rate = embed_as_pretrained(run, cut, key, "sampled documents")
    run.time_budget.record_reading_throughput(rate)
    return states


def accuracy_by_names(frozen: PretrainedEmbeddings, examples: Examples) -> float:
    """Return the balanced accuracy of a classifier that gives each labelled text the class of the nearest name."""
    classes = len(examples.classes)
    similarity = frozen.directions @ frozen.name_directions(classes).T
    # Some names are similar to every text, so each column is centred.
    predicted = (similarity - similarity.mean(axis=0)).argmax(axis=1)
    targets = examples.targets[frozen.chosen]
    return float(np.mean([(predicted[targets == k] == k).mean() for k in np.unique(targets)]))


def names_contradicted(right: float, examples: Examples) -> bool:
    """Return whether the accuracy by class names is below chance by more than the largest standard error."""
    return right + most_standard_error(len(examples.texts)) < 1 / len(examples.classes)


def fit_probe(
    frozen: PretrainedEmbeddings, examples: Examples, recipe: ProbeRecipe, train: NDArray[np.bool_] | None = None
) -> LinearHead | None:
    """Fit a head to all embedded labels, or to those where ``train`` (chosen,) is true.

    Returns:
        None where all of them are of one class.
    """
    classes = len(examples.classes)
    chosen = np.ones(len(frozen.chosen), dtype=bool) if train is None else train
    directions = frozen.name_directions(classes) if recipe.with_names else None
    targets = examples.targets[frozen.chosen][chosen]
    return linear_head(frozen.labels[chosen], targets, classes, c=recipe.c, directions=directions)


def cross_validate_probe(
    frozen: PretrainedEmbeddings, examples: Examples, folds: NDArray[np.int64], measured: range
) -> Probe | None:
    """Return the heads of the recipe with the least log-loss on the held-out folds.

    Only three recipes compete, so choosing the best of them makes the measured accuracy hardly too high.

    Args:
        folds: the fold of each label, (labels,).
        measured: the folds that are held out.

    Returns:
        None where a fold leaves labels of a single class.
    """
    truth = np.eye(len(examples.classes))[examples.targets[frozen.chosen]]
    held = np.isin(folds[frozen.chosen], list(measured))
    probes = [probe for recipe in PROBES if (probe := _over_folds(frozen, examples, recipe, folds, measured))]
    if not probes or not held.any():
        return None
    return min(probes, key=lambda probe: log_loss(probe.held_out[held], truth[held]))


def _over_folds(
    frozen: PretrainedEmbeddings, examples: Examples, recipe: ProbeRecipe, folds: NDArray[np.int64], measured: range
) -> Probe | None:
    if recipe.with_names and not len(frozen.names):
        return None
    held_out, heads = np.zeros((len(frozen.chosen), len(examples.classes))), dict[int, LinearHead]()
    for fold in measured:
        inside = folds[frozen.chosen] == fold
        head = fit_probe(frozen, examples, recipe, ~inside)
        if head is None:
            return None
        heads[fold], held_out[inside] = head, head.predict(frozen.labels[inside])
    return Probe(recipe, held_out, heads)
