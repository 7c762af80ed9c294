"""Work that is too small for a cluster, in this process: one piece after another, each on all of its cores.

Starting Ray, and having its workers import torch, takes longer than a fit of a few dozen labels does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import joblib
import torch

from tlnlp.model.combine import Floats
from tlnlp.model.tokenize import TokenIds
from tlnlp.runs.progress import meter
from tlnlp.storage import Storage
from tlnlp.train.fit.encoder_fit import EmbeddingSpec, EncoderFit, FitResult
from tlnlp.train.fit.ngram_fit import NgramFit
from tlnlp.train.fit.work import CPU, embed, fit_encoder

T = TypeVar("T")


class LocalExecutor:
    """Runs the work of a recipe in this process, on its CPUs. Implements ``Executor``."""

    places = 1

    def start(self) -> None:
        """Do nothing: this process is there."""

    def needs_job(self, fit: EncoderFit) -> bool:
        """Return False: nothing here is a job of its own."""
        return False

    def fit_each(self, fits: Sequence[EncoderFit], what: str) -> list[FitResult]:
        """Run several fits, one after another."""
        return [result_of(fit, *fit_encoder(fit, CPU, cores())) for fit in _shown(fits, what)]

    def fit_alone(self, fit: EncoderFit, storage: Storage, name: str, what: str) -> FitResult:
        """Run one fit from its beginning; nothing of it is stored half-way."""
        (result,) = self.fit_each([fit], what)
        return result

    def predict_each(self, fits: Sequence[NgramFit], what: str) -> list[Floats]:
        """Fit several n-gram views, one after another; return what each predicts, (texts, classes)."""
        return [fit.predict() for fit in _shown(fits, what)]

    def embed(
        self, tokens: TokenIds, weights: dict[str, Any] | None, spec: EmbeddingSpec, what: str
    ) -> tuple[Floats, float]:
        """Embed texts; return embeddings (texts, hidden), and how many tokens a second were read."""
        for _ in _shown([spec], what):
            found, seconds = embed(tokens, weights, spec, CPU, cores())
        return found, float(tokens.lengths.sum()) / max(seconds, 1e-3)


def cores() -> int:
    """Return how many cores this process may use; limits of a container are heeded."""
    return int(joblib.cpu_count())


def result_of(fit: EncoderFit, weights: dict[str, Any], held_out: Floats, seconds: float, rate: float) -> FitResult:
    """Return what ``fit_encoder`` found, as the result of a fit."""
    tensors = {name: torch.tensor(array) for name, array in weights.items()}
    return FitResult(tensors, held_out, fit.steps, seconds, rate)


def _shown(work: Sequence[T], what: str) -> Iterator[T]:
    """Yield each piece of work, and show how many are done."""
    with meter(what, len(work)) as shown:
        for number, piece in enumerate(work, start=1):
            yield piece
            shown.update(number)
