"""Label spreading over a graph of nearest neighbours."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tlnlp.model.combine import Floats
from tlnlp.train.label_spreading import neighbour_graph, spread_labels


def clusters(each: int, seed: int = 0) -> tuple[Floats, NDArray[np.int64]]:
    """Return embeddings on two long, thin arcs, and the arc of each."""
    generator = np.random.default_rng(seed)
    angle = generator.uniform(0, 2.2, 2 * each)
    of = np.repeat([0, 1], each)
    height = np.where(of == 0, 0.35, -0.35) + generator.normal(0, 0.03, 2 * each)
    return np.stack([np.cos(angle), np.sin(angle), height], axis=1), of


def known(of: NDArray[np.int64], labelled: list[int], classes: int = 2) -> Floats:
    """Return one-hot rows of the labelled texts, and rows of 0 for the others."""
    result = np.zeros((len(of), classes))
    result[labelled, of[labelled]] = 1.0
    return result


def test_one_label_reaches_the_far_end_of_its_cluster() -> None:
    states, of = clusters(150)
    # Each label is at one end of its arc, so texts of the other end are closer to the label of the other arc.
    ends = [int(np.argmin(np.where(of == 0, states[:, 1], 9))), int(np.argmax(np.where(of == 1, states[:, 1], -9)))]
    propagated = spread_labels(neighbour_graph(states), known(of, ends))
    assert propagated.sum(axis=1) == pytest.approx(1.0)
    assert (propagated.argmax(axis=1) == of).all()


def test_the_graph_is_symmetric_scaled_and_without_loops() -> None:
    states, _ = clusters(60)
    graph = neighbour_graph(states).toarray()
    assert graph == pytest.approx(graph.T)
    assert (np.diag(graph) == 0).all()
    assert np.linalg.eigvalsh(graph).max() == pytest.approx(1.0, abs=1e-6)


def test_the_length_of_an_embedding_does_not_matter() -> None:
    states, _ = clusters(40)
    longer = states * np.random.default_rng(1).uniform(0.1, 10, (len(states), 1))
    assert neighbour_graph(longer).toarray() == pytest.approx(neighbour_graph(states).toarray(), abs=1e-4)


def test_texts_that_no_label_reaches_get_equal_probabilities() -> None:
    generator = np.random.default_rng(0)
    one, other = generator.normal(0, 0.01, (2, 20, 3)) + np.array([[[1.0, 0, 0]], [[0, 0, 1.0]]])
    propagated = spread_labels(
        neighbour_graph(np.vstack([one, other])), known(np.zeros(40, dtype=np.int64), [0], classes=3)
    )
    assert propagated[:20].argmax(axis=1).tolist() == [0] * 20
    assert propagated[20:] == pytest.approx(1 / 3)


def test_very_few_and_equal_texts() -> None:
    states = np.ones((3, 4))
    propagated = spread_labels(neighbour_graph(states), known(np.array([0, 1, 1]), [0, 1]))
    assert np.isfinite(propagated).all()
    assert np.isfinite(spread_labels(neighbour_graph(np.zeros((5, 4))), known(np.zeros(5, dtype=np.int64), [0]))).all()
