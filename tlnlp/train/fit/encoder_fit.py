"""The inputs and the result of one fit of an encoder: plain values that can be sent to another process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tlnlp.config import TrainingSettings
from tlnlp.errors import counted
from tlnlp.model.combine import Floats
from tlnlp.model.encoder_conventions import EncoderSource
from tlnlp.model.tokenize import TokenIds

# ``contrast``: pull texts of one class together and push other texts apart, then fit a head; better with few labels.
# ``classify``: train encoder and head together on cross-entropy; better with many examples.
Objective = Literal["contrast", "classify"]


@dataclass(frozen=True)
class EncoderFit:
    """The inputs of one fit.

    Attributes:
        encoder: the pretrained encoder.
        edges: how many tokens of each text are prompt and special tokens, at its start and at its end.
        tokens: token ids of the training texts, uncut.
        targets: class probabilities of the training texts (texts, classes).
        weights: the weight of each training text in the loss (texts,).
        held_out: token ids of the texts to predict after the last step, cut as scoring cuts them.
        steps: the number of training steps.
        crop_tokens: the length of the window of a text that a step reads, in tokens.
        read_tokens: the length of the windows on which the final head is fitted, in tokens; scoring reads as many.
        objective: the loss.
        seed: the seed of all randomness of the fit.
        recipe: the settings of the optimisation.
        initial: tensors of a model to start from, by name; None starts from the pretrained encoder.
        class_names: how many of the training texts are class names; they come last.
        layers: positions of the layers that the model keeps, for a student of fewer layers; None keeps all.
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
    class_names: int = 0
    layers: tuple[int, ...] | None = None

    @property
    def size(self) -> str:
        """Return the number of training texts in words, and how many of them are no labelled or predicted texts."""
        names = f" ({self.class_names} of them are wordings of the class names)" if self.class_names else ""
        return f"{counted(len(self.tokens), 'example')}{names}"

    @property
    def classes(self) -> int:
        """Return the number of classes."""
        return int(self.targets.shape[1])

    @property
    def learned_tokens(self) -> float:
        """Estimate the number of tokens that all steps read together."""
        return self.steps * self.recipe.batch_size * float(np.minimum(self.tokens.lengths, self.crop_tokens).mean())


@dataclass(frozen=True)
class FitResult:
    """The result of one fit.

    Attributes:
        weights: tensors of the fitted model, by name.
        held_out: predicted probabilities of the held-out texts (texts, classes).
        steps: the number of training steps.
        seconds: the duration of the fit; of a resumed job, the duration since its last start.
        rate: steps per second, without the slower first steps.
        losses: pairs of a step and the mean training loss since the previous pair; of a resumed job, since its last
            start.
        resumed: the steps at which workers resumed from a checkpoint.
    """

    weights: dict[str, Any]
    held_out: Floats
    steps: int
    seconds: float = 0.0
    rate: float = 0.0
    losses: tuple[tuple[int, float], ...] = ()
    resumed: tuple[int, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the figures that the ledger of a run stores."""
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
    """The settings of an embedding pass.

    Attributes:
        encoder: the encoder.
        classes: the number of classes, which sets the size of the model's head.
        precision: the precision of matrix products: ``auto``, ``fp32``, ``bf16`` or ``int8``.
    """

    encoder: EncoderSource
    classes: int
    precision: str
