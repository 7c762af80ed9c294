"""The linear head on pretrained embeddings, and the recipe that cross-validation prefers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tlnlp.config import FinetuneSettings
from tlnlp.data.label_faults import Example
from tlnlp.data.labels import LabelledSet
from tlnlp.model.calibration import log_loss
from tlnlp.model.combine import Floats, softmax
from tlnlp.train.dataset import Examples, Reader
from tlnlp.train.fit.linear_head import ABSENT, LinearHead, linear_head, with_head
from tlnlp.train.folds import stratified_folds
from tlnlp.train.frozen_encoder import PROBES, PretrainedEmbeddings, ProbeRecipe, cross_validate_probe, fit_probe
from tlnlp.train.tuned_constants import TUNED

HIDDEN = 24
MIDDLES = 1.2 * np.random.default_rng(4).normal(size=(3, HIDDEN)) / HIDDEN**0.5


def states_of(labels: NDArray[np.int64], seed: int, noise: float = 0.5) -> Floats:
    """Return embeddings around the mean of their class."""
    generator = np.random.default_rng(seed)
    return np.asarray(MIDDLES[labels] + noise * generator.normal(size=(len(labels), HIDDEN)) / HIDDEN**0.5)


def right(head: LinearHead | None, states: Floats, labels: NDArray[np.int64]) -> float:
    """Return the accuracy of a head."""
    assert head is not None
    return float((head.predict(states).argmax(axis=1) == labels).mean())


LABELS, MANY = np.arange(24) % 3, np.arange(600) % 3


def test_the_distance_from_the_origin_does_not_matter() -> None:
    states, others = states_of(LABELS, 0), states_of(MANY, 1)
    far = 30.0 * np.eye(HIDDEN)[0]
    head, same = linear_head(states + far, LABELS, 3), linear_head(states, LABELS, 3)
    assert right(same, others, MANY) > 0.9
    assert right(head, others + far, MANY) == pytest.approx(right(same, others, MANY), abs=0.005)
    assert head is not None
    assert same is not None
    assert head.predict(others + far) == pytest.approx(same.predict(others), abs=1e-3)


def test_the_scale_of_embeddings_does_not_change_the_predictions() -> None:
    states, others = states_of(LABELS, 0), states_of(MANY, 1)
    one, other = linear_head(states, LABELS, 3), linear_head(0.01 * states, LABELS, 3)
    assert one is not None
    assert other is not None
    assert other.predict(0.01 * others) == pytest.approx(one.predict(others), abs=1e-3)


def test_a_weight_of_two_counts_as_two_texts() -> None:
    states = states_of(LABELS, 0)
    twice = np.arange(24) < 12
    counted = linear_head(states, LABELS, 3, np.where(twice, 2.0, 1.0).astype(np.float32))
    repeated = linear_head(np.vstack([states, states[twice]]), np.concatenate([LABELS, LABELS[twice]]), 3)
    assert counted is not None
    assert repeated is not None
    assert counted.predict(states) == pytest.approx(repeated.predict(states), abs=1e-3)


def test_with_few_labels_class_names_help() -> None:
    few, others = np.arange(6) % 3, states_of(MANY, 1, noise=2.5)
    states = [states_of(few, seed, noise=2.5) for seed in range(2, 12)]
    with_names = [linear_head(one, few, 3, directions=MIDDLES - MIDDLES.mean(axis=0)) for one in states]
    alone = [linear_head(one, few, 3) for one in states]
    assert np.mean([right(head, others, MANY) for head in with_names]) > 0.05 + np.mean(
        [right(head, others, MANY) for head in alone]
    )
    # With many labels, random names do no harm.
    nothing = np.random.default_rng(8).normal(size=(3, HIDDEN))
    misled = linear_head(others, MANY, 3, directions=nothing)
    assert right(misled, others, MANY) >= right(linear_head(others, MANY, 3), others, MANY) - 0.01


@pytest.mark.parametrize("present", [[0, 2], [0, 1, 3]])
def test_a_class_without_texts_is_the_least_likely_of_all(present: list[int]) -> None:
    labels = np.array(present)[np.arange(24) % len(present)]
    states = states_of(np.arange(24) % 3, 0)
    head = linear_head(states, labels, 4)
    assert head is not None
    absent = sorted(set(range(4)) - set(present))
    # The check is at the mean of all texts, because weights decide elsewhere.
    probabilities = head.predict(states.mean(axis=0, keepdims=True))[0]
    assert max(probabilities[absent]) < min(probabilities[present])
    assert not head.weight[absent].any()
    assert head.bias[absent] == pytest.approx(head.bias[present].min() - ABSENT)
    assert linear_head(states, np.full(24, 2), 4) is None


def test_probabilities_are_the_softmax_of_the_logits() -> None:
    states = states_of(LABELS, 0)
    head = linear_head(states, LABELS, 3)
    assert head is not None
    assert (head.weight.dtype, head.bias.dtype) == (np.dtype(np.float32), np.dtype(np.float32))
    assert head.predict(states) == pytest.approx(softmax(states @ head.weight.T + head.bias), abs=1e-6)
    # The head predicts the same inside the torch model.
    tensors = with_head({"encoder": torch.zeros(1)}, head)
    assert set(tensors) == {"encoder", "head.weight", "head.bias"}
    logits = torch.nn.functional.linear(
        torch.from_numpy(states.astype(np.float32)), tensors["head.weight"], tensors["head.bias"]
    )
    assert torch.softmax(logits, dim=1).numpy() == pytest.approx(head.predict(states), abs=1e-5)
    again = LinearHead.of(tensors)
    assert again.predict(states) == pytest.approx(head.predict(states))
    assert with_head({"encoder": torch.zeros(1)}, None).keys() == {"encoder"}


@pytest.fixture
def examples(tiny_encoder: Path, tmp_path: Path) -> Examples:
    settings = FinetuneSettings(labels="labels", encoder=str(tiny_encoder))
    rows = tuple(Example(f"text {i}", "abc"[i % 3], "f", i) for i in range(24))
    labelled = LabelledSet("labels", "", 24, rows, ("a", "b", "c"))
    return Examples.make(labelled, Reader.make(settings, tmp_path))


def frozen(seed: int, noise: float, names: Floats | None) -> PretrainedEmbeddings:
    """Return embeddings of 24 labels in a random order."""
    chosen = np.random.default_rng(seed).permutation(24)
    of_names = np.zeros((0, HIDDEN)) if names is None else np.tile(names, (len(TUNED.class_name_templates), 1))
    return PretrainedEmbeddings(chosen, states_of(LABELS[chosen], seed, noise), of_names)


@pytest.mark.parametrize(
    ("noise", "names", "preferred"),
    [
        # The names are right, and 24 noisy labels know less than they do.
        (4.0, MIDDLES + 1.0, ProbeRecipe(1.0, with_names=True)),
        # The classes are far apart, so a weak penalty is best.
        (0.02, None, ProbeRecipe(10.0)),
        # The classes overlap, so a strong penalty is best.
        (4.0, None, ProbeRecipe(1.0)),
    ],
)
def test_the_recipe_of_least_log_loss_is_preferred(
    noise: float, names: Floats | None, preferred: ProbeRecipe, examples: Examples
) -> None:
    assert preferred in PROBES
    given = frozen(0, noise, names)
    folds = stratified_folds(examples.targets.tolist(), 0, 4)
    probe = cross_validate_probe(given, examples, folds, range(4))
    assert probe is not None
    assert probe.recipe == preferred
    # Each label is predicted by the head that did not see it; rows are in the order of the embeddings.
    inside = folds[given.chosen] == 2
    head = fit_probe(given, examples, preferred, ~inside)
    assert head is not None
    assert probe.held_out[inside] == pytest.approx(head.predict(given.labels[inside]))
    truth = np.eye(3)[examples.targets[given.chosen]]
    alone = cross_validate_probe(replace(given, names=given.names[:0]), examples, folds, range(4))
    assert alone is not None
    assert log_loss(probe.held_out, truth) <= log_loss(alone.held_out, truth)


def test_a_fold_that_leaves_one_class_gives_no_probe(examples: Examples) -> None:
    only = replace(examples, targets=np.array([0, *[1] * 23]))
    folds = np.arange(24) % 2
    assert cross_validate_probe(frozen(0, 0.5, None), only, folds, range(2)) is None
