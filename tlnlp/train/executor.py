"""The interface between the training recipe and the machines that run its work. No Ray here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from tlnlp.model.combine import Floats
from tlnlp.model.tokenize import TokenIds
from tlnlp.storage import Storage
from tlnlp.train.fit.encoder_fit import EmbeddingSpec, EncoderFit, FitResult
from tlnlp.train.fit.ngram_fit import NgramFit


class Executor(Protocol):
    """Run the work of a recipe in this process (``LocalExecutor``) or on a Ray cluster (``RayExecutor``).

    Each method shows its progress under the name ``what``. Each raises EngineError where a task fails more often than
    the settings allow, or where the code of a task raises.
    """

    @property
    def places(self) -> int:
        """Return how many tasks run at the same time."""

    @property
    def has_gpus(self) -> bool:
        """Return whether the work runs on GPUs."""

    def start(self) -> None:
        """Start all processes now, so that the first task does not wait for them."""

    def needs_job(self, fit: EncoderFit) -> bool:
        """Return whether a fit runs as a job of its own. A job takes time to start, and resumes from checkpoints."""

    def fit_each(self, fits: Sequence[EncoderFit], what: str) -> list[FitResult]:
        """Run several fits at the same time, and return their results in order."""

    def fit_alone(self, fit: EncoderFit, storage: Storage, name: str, what: str) -> FitResult:
        """Run one fit on all machines together.

        Args:
            fit: the inputs of the fit.
            storage: where a job writes its checkpoints.
            name: the name of the job; an interrupted job of this name resumes from its last checkpoint.
            what: the name under which progress is shown.
        """

    def predict_each(self, fits: Sequence[NgramFit], what: str) -> list[Floats]:
        """Fit several n-gram views at the same time, and return their probabilities (texts, classes) in order."""

    def embed(
        self, tokens: TokenIds, weights: dict[str, Any] | None, spec: EmbeddingSpec, what: str
    ) -> tuple[Floats, float]:
        """Embed texts.

        Args:
            tokens: token ids of the texts.
            weights: tensors of a fitted model, by name; None uses the pretrained encoder.
            spec: the encoder and its precision.
            what: the name under which progress is shown.

        Returns:
            Embeddings (texts, hidden); the throughput of all machines in tokens per second, without the time to start
            processes.
        """
