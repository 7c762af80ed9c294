"""What the recipe asks of the machines: fit encoders, fit n-gram views, embed texts. Nothing of Ray here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from tlnlp.model.combine import Floats
from tlnlp.model.tokenize import TokenIds
from tlnlp.storage import Storage
from tlnlp.train.fit.encoder_fit import EmbeddingSpec, EncoderFit, FitResult
from tlnlp.train.fit.ngram_fit import NgramFit


class Executor(Protocol):
    """Runs the work of a recipe: in this process (``LocalExecutor``), or on a Ray cluster (``RayExecutor``).

    Each method shows its progress under the name ``what``, and raises EngineError where a piece of work is lost too
    often or fails with a fault of the program.
    """

    @property
    def places(self) -> int:
        """How many pieces of work run side by side."""

    def start(self) -> None:
        """Make ready for work of any size, so that the work itself need not wait."""

    def needs_job(self, fit: EncoderFit) -> bool:
        """Return whether a fit runs as a job of its own, which costs time to start and survives a kill half-way."""

    def fit_each(self, fits: Sequence[EncoderFit], what: str) -> list[FitResult]:
        """Run several fits side by side."""

    def fit_alone(self, fit: EncoderFit, storage: Storage, name: str, what: str) -> FitResult:
        """Run one fit on all machines together; a job of this ``name`` that was cut short goes on from its checkpoint
        in ``storage``."""

    def predict_each(self, fits: Sequence[NgramFit], what: str) -> list[Floats]:
        """Fit several n-gram views side by side; return what each predicts, (texts, classes)."""

    def embed(
        self, tokens: TokenIds, weights: dict[str, Any] | None, spec: EmbeddingSpec, what: str
    ) -> tuple[Floats, float]:
        """Embed texts with an encoder of these tensors, or with the pretrained one.

        Returns:
            Embeddings (texts, hidden); and how many tokens a second all machines read, the start of processes left out.
        """
