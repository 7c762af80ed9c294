"""What every method of the benchmark is given, and what it gives back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from draws import DataSet, Draw
from encoders import EncoderFiles

from tlnlp.data.text import prepare
from tlnlp.model.combine import Floats

MAX_CHARS = 10_000
ENCODER = "e5-small-v2"
# The encoder that tlnlp chooses itself.
AUTO = "auto"


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
    encoder: str = ENCODER

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes that labels were drawn of; without labels, those of the data set, whose names are given."""
        return tuple(sorted(set(self.drawn.labels.labels))) or self.drawn.classes

    @property
    def targets(self) -> list[int]:
        """Class index of each label."""
        return [self.classes.index(label) for label in self.drawn.labels.labels]

    @property
    def files(self) -> EncoderFiles:
        """What a baseline knows of its encoder.

        Raises:
            EncoderError: its files are not on this machine.
        """
        return EncoderFiles.of(self.encoder)

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
