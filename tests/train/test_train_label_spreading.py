"""Labels spread over a graph of neighbours."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tlnlp.model.combine import Floats
from tlnlp.train.label_spreading import neighbourhood, spread


def clusters(each: int, seed: int = 0) -> tuple[Floats, NDArray[np.int64]]:
    """Two arcs of directions, long and thin, and which of them each is on."""
    generator = np.random.default_rng(seed)
    angle = generator.uniform(0, 2.2, 2 * each)
    of = np.repeat([0, 1], each)
    height = np.where(of == 0, 0.35, -0.35) + generator.normal(0, 0.03, 2 * each)
    return np.stack([np.cos(angle), np.sin(angle), height], axis=1), of


def known(of: NDArray[np.int64], labelled: list[int], classes: int = 2) -> Floats:
    found = np.zeros((len(of), classes))
    found[labelled, of[labelled]] = 1.0
    return found


def test_one_label_reaches_the_far_end_of_its_cluster() -> None:
    states, of = clusters(150)
    # The label of the other arc is at the near end for every text of the far half.
    ends = [int(np.argmin(np.where(of == 0, states[:, 1], 9))), int(np.argmax(np.where(of == 1, states[:, 1], -9)))]
    said = spread(neighbourhood(states), known(of, ends))
    assert said.sum(axis=1) == pytest.approx(1.0)
    assert (said.argmax(axis=1) == of).all()


def test_the_graph_is_symmetric_scaled_and_without_loops() -> None:
    states, _ = clusters(60)
    near = neighbourhood(states).toarray()
    assert near == pytest.approx(near.T)
    assert (np.diag(near) == 0).all()
    assert np.linalg.eigvalsh(near).max() == pytest.approx(1.0, abs=1e-6)


def test_length_does_not_matter() -> None:
    states, _ = clusters(40)
    longer = states * np.random.default_rng(1).uniform(0.1, 10, (len(states), 1))
    assert neighbourhood(longer).toarray() == pytest.approx(neighbourhood(states).toarray(), abs=1e-4)


def test_what_no_label_reaches_may_be_of_any_class() -> None:
    generator = np.random.default_rng(0)
    one, other = generator.normal(0, 0.01, (2, 20, 3)) + np.array([[[1.0, 0, 0]], [[0, 0, 1.0]]])
    said = spread(neighbourhood(np.vstack([one, other])), known(np.zeros(40, dtype=np.int64), [0], classes=3))
    assert said[:20].argmax(axis=1).tolist() == [0] * 20
    assert said[20:] == pytest.approx(1 / 3)


def test_very_few_and_equal_texts() -> None:
    states = np.ones((3, 4))
    said = spread(neighbourhood(states), known(np.array([0, 1, 1]), [0, 1]))
    assert np.isfinite(said).all()
    assert np.isfinite(spread(neighbourhood(np.zeros((5, 4))), known(np.zeros(5, dtype=np.int64), [0]))).all()
