"""What a fit of an encoder is given, and what it returns: values that cross processes, with no engine in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tlnlp.config import TrainingSettings
from tlnlp.model.combine import Floats
from tlnlp.model.encoder_conventions import EncoderSource
from tlnlp.model.tokenize import TokenIds

# ``contrast``: texts of a class are drawn together and others apart, then a head is fitted; strong with few labels.
# ``classify``: cross-entropy of a head that learns along; strong with many examples.
Objective = Literal["contrast", "classify"]


@dataclass(frozen=True)
class EncoderFit:
    """One fit, as a worker gets it.

    ``tokens``: of whole texts, prompt and special tokens at their ``edges``; ``targets`` (texts, classes):
    probabilities; ``weights`` (texts,): how much each counts; ``held_out``: texts to predict at the end, cut as scoring
    cuts them.
    Steps read windows of ``crop_tokens``; the last head is fitted on windows of ``read_tokens``, as scoring reads.
    ``initial``: tensors that cross-entropy begins from; None: the pretrained encoder.
    """

    encoder: EncoderSource
    edges: tuple[int, int]
    tokens: TokenIds
    targets: NDArray[np.float32]
    weights: NDArray[np.float32]
    held_out: TokenIds
    steps: int
    crop_tokens: int
    read_tokens: int
    objective: Objective
    seed: int
    recipe: TrainingSettings
    initial: dict[str, Any] | None = None

    @property
    def classes(self) -> int:
        return int(self.targets.shape[1])

    @property
    def learned_tokens(self) -> float:
        """About how many tokens its steps read."""
        return self.steps * self.recipe.batch_size * float(np.minimum(self.tokens.lengths, self.crop_tokens).mean())


@dataclass(frozen=True)
class FitResult:
    """``weights``: tensors of the fitted model by name; ``held_out``: probabilities (texts, classes).

    ``seconds``: of this start of the job; ``rate``: steps a second once it was under way; ``losses``: step and mean
    training loss since the report before, of this start; ``resumed``: the steps at which workers took up a checkpoint.
    """

    weights: dict[str, Any]
    held_out: Floats
    steps: int
    seconds: float = 0.0
    rate: float = 0.0
    losses: tuple[tuple[int, float], ...] = ()
    resumed: tuple[int, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """What a ledger keeps."""
        losses = [[step, round(loss, 6)] for step, loss in self.losses]
        return {
            "steps": self.steps,
            "seconds": round(self.seconds, 1),
            "steps_per_s": round(self.rate, 3),
            "losses": losses,
            "resumed": list(self.resumed),
        }


@dataclass(frozen=True)
class EmbeddingSpec:
    """How texts are embedded: the encoder, its number of classes, and the precision of its matrix products."""

    encoder: EncoderSource
    classes: int
    precision: str
