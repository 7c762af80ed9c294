"""What every method of the benchmark is given, and what it gives back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from draws import DataSet, Draw

from tlnlp.data.text import prepare
from tlnlp.model.combine import Floats

MAX_CHARS = 10_000
ENCODER = "all-minilm-l6-v2"


class MethodError(Exception):
    """A method did not come to an end."""


@dataclass(frozen=True)
class Task:
    """What a method is given. ``folder`` holds the draw as Parquet, and is where it may write."""

    data: DataSet
    drawn: Draw
    seed: int
    budget_s: float | None
    folder: Path

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(sorted(set(self.drawn.labels.labels)))

    @property
    def targets(self) -> list[int]:
        """Class index of each label."""
        return [self.classes.index(label) for label in self.drawn.labels.labels]

    def prepared(self) -> tuple[list[str], list[str]]:
        """Labelled texts and test texts as a tlnlp model reads them."""
        return _prepared(self.drawn.labels.texts), _prepared(self.drawn.test.texts)


@dataclass(frozen=True)
class Outcome:
    """``probabilities`` (test texts, classes); wall times; ``command``: what was run; ``versions``: None for ours."""

    probabilities: Floats
    classes: tuple[str, ...]
    seconds: float
    predict_s: float
    command: str
    details: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] | None = None


def _prepared(texts: Sequence[str]) -> list[str]:
    return [prepare(text, MAX_CHARS) for text in texts]
