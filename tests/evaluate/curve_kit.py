"""Learning curves whose true gain is known, with the structure of those that train measures.

The labels are split into four folds. Models learn from a quarter, a half and all of the labels outside a fold, and
predict the fold. Few labels have five models for each fold and share; many have one, for two of the folds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from tlnlp.evaluate.learning_curve import CurvePoint

FOLDS = 4
SHARES = (0.25, 0.5, 1.0)


@dataclass(frozen=True)
class Design:
    """How many labels there are, and how many models each of the first two points has: draws for each of the folds."""

    labels: int
    draws: int = 5
    folds: int = FOLDS

    def fits(self, share: float) -> list[tuple[int, int]]:
        """Return fold and draw of each model of a point. All folds have one model with all labels outside."""
        return [
            (f, d) for f in range(FOLDS if share == 1 else self.folds) for d in range(1 if share == 1 else self.draws)
        ]


def of_a_law(
    design: Design, accuracy: Callable[[float], float], generator: np.random.Generator, likeness: float = 0.8
) -> list[CurvePoint]:
    """Return points whose expected accuracy is a law of the number of labels.

    Some texts are hard for every model: each prediction depends on a normal variable of its text, with this
    correlation, and on one of its own.
    """
    hard, fold = generator.normal(size=design.labels), generator.permutation(design.labels) % FOLDS
    points = []
    for share in SHARES:
        labels = round(share * design.labels * (FOLDS - 1) / FOLDS)
        texts = np.concatenate([np.flatnonzero(fold == f) for f, _ in design.fits(share)])
        own = generator.normal(size=len(texts))
        hardness = likeness**0.5 * hard[texts] + (1 - likeness) ** 0.5 * own
        points.append(CurvePoint(labels, texts, (hardness < norm.ppf(accuracy(labels))).astype(np.int64)))
    return points


@dataclass(frozen=True)
class Centroids:
    """A nearest-centroid classifier of two normal classes: a model that learns, so its fits differ by their labels.

    Attributes:
        width: the number of features.
        distance: the distance of the means of the classes, in standard deviations.
    """

    width: int
    distance: float

    def points(self, design: Design, generator: np.random.Generator) -> list[CurvePoint]:
        """Return the points of a learning curve on one drawn set of labels."""
        targets = np.arange(design.labels) % 2
        features = generator.normal(size=(design.labels, self.width))
        features[:, 0] += self.distance * (targets - 0.5)
        fold = np.arange(design.labels) // 2 % FOLDS
        orders = {
            fit: [generator.permutation(np.flatnonzero((fold != fit[0]) & (targets == k))) for k in (0, 1)]
            for fit in Design(design.labels, design.draws).fits(0.5)
        }
        points = []
        for share in SHARES:
            counts, texts, hits = list[int](), [], []
            for fit in design.fits(share):
                chosen = [order[: max(2, round(share * len(order)))] for order in orders[fit]]
                means = [features[one].mean(axis=0) for one in chosen]
                held_out = np.flatnonzero(fold == fit[0])
                slope = means[1] - means[0]
                predicted = (features[held_out] - (means[0] + means[1]) / 2) @ slope > 0
                counts.append(sum(len(one) for one in chosen))
                texts.append(held_out)
                hits.append((predicted == targets[held_out]).astype(np.int64))
            points.append(CurvePoint(round(np.mean(counts)), np.concatenate(texts), np.concatenate(hits)))
        return points

    def accuracy(self, labels: int, generator: np.random.Generator, fits: int = 4000) -> float:
        """Return the expected accuracy with this many labels: the mean of exact accuracies over many fits."""
        shape = (2, fits, self.width)
        means: NDArray[np.float64] = generator.normal(size=shape) / (labels / 2) ** 0.5
        means[0, :, 0] -= self.distance / 2
        means[1, :, 0] += self.distance / 2
        slope, middle = means[1] - means[0], (means[1] + means[0]) / 2
        length, shift = np.linalg.norm(slope, axis=1), (slope * middle).sum(axis=1)
        lean = slope[:, 0] * self.distance / 2
        return float((norm.cdf((lean - shift) / length) + norm.cdf((lean + shift) / length)).mean() / 2)
