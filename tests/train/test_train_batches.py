"""Batches of training, stratified folds, and the learning-rate schedule."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from tlnlp.config import TrainingSettings
from tlnlp.train.fit.batches import batches, learning_rate_scale, steps_of
from tlnlp.train.folds import FOLDS, ONE_FOLD_FROM, measured_folds, stratified_folds

SIZES = [(1, 1), (1, 4), (7, 3), (8, 8), (20, 8), (5, 16), (200, 16)]


@pytest.mark.parametrize(("examples", "batch_size"), SIZES)
def test_a_stream_resumed_in_the_middle_is_the_same(examples: int, batch_size: int) -> None:
    whole = [batch.tolist() for batch in batches(examples, batch_size, 3, 0, 40)]
    assert len(whole) == 40
    assert {len(batch) for batch in whole} == {batch_size}
    for start in (1, 13, 39, 40):
        assert [batch.tolist() for batch in batches(examples, batch_size, 3, start, 40)] == whole[start:]


@pytest.mark.parametrize(("examples", "batch_size"), SIZES)
def test_every_example_comes_once_an_epoch(examples: int, batch_size: int) -> None:
    stream = np.concatenate(list(batches(examples, batch_size, 5, 0, 60)))
    epochs = [stream[i : i + examples].tolist() for i in range(0, len(stream) - examples + 1, examples)]
    assert epochs
    assert all(sorted(epoch) == list(range(examples)) for epoch in epochs)
    if examples >= 7:
        assert epochs[0] != epochs[1] != list(range(examples))


def test_the_stream_depends_on_the_seed() -> None:
    one, two = (np.concatenate(list(batches(50, 8, seed, 0, 6))).tolist() for seed in (1, 2))
    assert one != two


@pytest.mark.parametrize("world", [1, 2, 4])
def test_workers_share_a_batch_equally(world: int) -> None:
    for batch in batches(30, 8, 0, 0, 20):
        shares = [batch[rank::world] for rank in range(world)]
        assert {len(share) for share in shares} == {8 // world}
        assert Counter(np.concatenate(shares).tolist()) == Counter(batch.tolist())


def test_learning_rate_rises_then_falls_to_nothing() -> None:
    scales = [learning_rate_scale(step, 100, 0.1) for step in range(100)]
    assert max(scales) == scales[9] == 1.0
    assert scales[:10] == sorted(scales[:10])
    assert scales[10:] == sorted(scales[10:], reverse=True)
    assert scales[0] == pytest.approx(0.1)
    assert 0 < scales[-1] < 0.02
    assert all(0 <= learning_rate_scale(step, 1, 0.0) <= 1 for step in range(2))


@pytest.mark.parametrize(
    ("examples", "recipe", "steps"),
    [
        (200, TrainingSettings(epochs=2, batch_size=16, min_steps=1), 25),
        (201, TrainingSettings(epochs=2, batch_size=16, min_steps=1), 26),
        (100, TrainingSettings(epochs=1, batch_size=16, min_steps=30), 30),
        (10, TrainingSettings(epochs=1, batch_size=16, min_steps=30, max_passes=10), 7),
        (10, TrainingSettings(epochs=12, batch_size=16, min_steps=30, max_passes=10), 8),
        (5000, TrainingSettings(epochs=9, batch_size=8, max_steps=77, min_steps=1), 77),
    ],
)
def test_steps_of_a_fit(examples: int, recipe: TrainingSettings, steps: int) -> None:
    assert steps_of(examples, recipe) == steps


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("sizes", [(100, 100), (60, 30, 10), (40, 3, 2, 2), (500, 9)])
def test_folds_hold_every_class_evenly(sizes: tuple[int, ...], seed: int) -> None:
    targets = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    folds = stratified_folds(targets.tolist(), seed)
    assert set(folds) == set(range(FOLDS))
    for k, size in enumerate(sizes):
        of_class = np.bincount(folds[targets == k], minlength=FOLDS)
        assert of_class.sum() == size
        assert of_class.max() - of_class.min() <= 1
    sizes_of_folds = np.bincount(folds)
    assert sizes_of_folds.max() - sizes_of_folds.min() <= len(sizes)


def test_a_single_example_of_a_class_is_never_held_out() -> None:
    folds = stratified_folds([0] * 8 + [1], 0)
    assert folds[-1] == -1
    assert sorted(folds[:-1]) == [0, 0, 1, 1, 2, 2, 3, 3]


def test_folds_depend_on_the_seed() -> None:
    targets = [0, 1] * 50
    one, same, other = (stratified_folds(targets, seed).tolist() for seed in (1, 1, 2))
    assert one == same != other


def test_many_labels_hold_out_one_fold() -> None:
    assert list(measured_folds(ONE_FOLD_FROM - 1)) == list(range(FOLDS))
    assert list(measured_folds(ONE_FOLD_FROM)) == [0]
