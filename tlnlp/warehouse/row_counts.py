"""Count the rows of a night by label, confidence and stage, while its files are audited."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

CONFIDENCE_BINS = 10

Row = NDArray[np.int64]


@dataclass
class RowCounts:
    """Count rows of a table of scores.

    Fields:
        labels: the model's classes.
        stages: what may have decided a row.
        label, stage: numbers of rows, in the order of these.
        confidence: numbers of rows by score, in ten bins from 0 to 1.
    """

    labels: tuple[str, ...]
    stages: tuple[str, ...]
    label: Row = field(init=False)
    stage: Row = field(init=False)
    confidence: Row = field(default_factory=lambda: np.zeros(CONFIDENCE_BINS, np.int64))

    def __post_init__(self) -> None:
        self.label, self.stage = (np.zeros(len(names), np.int64) for names in (self.labels, self.stages))

    def look(self, batch: pa.RecordBatch) -> None:
        """Add the rows of a batch, with the columns ``label``, ``score`` and ``stage``."""
        score = batch.column("score").to_numpy(zero_copy_only=False)
        bins = np.minimum((score * CONFIDENCE_BINS).astype(np.int64), CONFIDENCE_BINS - 1)
        self.confidence += np.bincount(bins, minlength=CONFIDENCE_BINS)
        self.label += _places(batch.column("label"), self.labels)
        self.stage += _places(batch.column("stage"), self.stages)

    def by_statistic(self) -> dict[str, tuple[int, ...]]:
        """Return the counts by the name of their statistic."""
        named = {"label": self.label, "confidence": self.confidence, "stage": self.stage}
        return {name: tuple(map(int, row)) for name, row in named.items()}


def _places(values: pa.Array, domain: Sequence[str]) -> Row:
    """Return how often each value of the domain occurs."""
    found = pc.index_in(values, pa.array(domain, pa.string())).drop_null().to_numpy(zero_copy_only=False)
    return np.bincount(found.astype(np.int64), minlength=len(domain))
