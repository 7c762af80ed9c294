"""The input and the output of every method of the benchmark."""

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
# tlnlp chooses the encoder itself.
AUTO = "auto"


class MethodError(Exception):
    """A method failed."""


@dataclass(frozen=True)
class Task:
    """The input of a method. ``folder`` holds the draw as Parquet, and the method may write there."""

    data: DataSet
    drawn: Draw
    seed: int
    budget_s: float | None
    folder: Path
    encoder: str = ENCODER

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the classes of the labels, sorted; without labels, all classes of the data set."""
        return tuple(sorted(set(self.drawn.labels.labels))) or self.drawn.classes

    @property
    def targets(self) -> list[int]:
        """Return the class index of each label."""
        return [self.classes.index(label) for label in self.drawn.labels.labels]

    @property
    def files(self) -> EncoderFiles:
        """Return the files of the encoder.

        Raises:
            EncoderError: its files are not on this machine.
        """
        return EncoderFiles.of(self.encoder)

    def prepared(self) -> tuple[list[str], list[str]]:
        """Return the labelled texts and the test texts, normalised and cut as a tlnlp model reads them."""
        return _prepared(self.drawn.labels.texts), _prepared(self.drawn.test.texts)


@dataclass(frozen=True)
class Outcome:
    """The output of a method.

    ``probabilities``: (test texts, classes). ``seconds``, ``predict_s``: wall times of training and prediction.
    ``command``: what was run. ``versions``: of packages; None for those of this environment.
    """

    probabilities: Floats
    classes: tuple[str, ...]
    seconds: float
    predict_s: float
    command: str
    details: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] | None = None


def _prepared(texts: Sequence[str]) -> list[str]:
    return [prepare(text, MAX_CHARS) for text in texts]
