"""Run the work of a recipe in this process: one task after another, each on all cores.

A fit on a few dozen labels takes less time than the start of Ray and the import of torch in its workers.
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
from tlnlp.train.fit.run_fit import CPU, embed, fit_encoder

T = TypeVar("T")


class LocalExecutor:
    """Run the work of a recipe in this process, on its CPUs. Implements ``Executor``."""

    places = 1
    has_gpus = False

    def start(self) -> None:
        """Do nothing: there is no other process to start."""

    def needs_job(self, fit: EncoderFit) -> bool:
        """Return False: this executor has no jobs."""
        return False

    def fit_each(self, fits: Sequence[EncoderFit], what: str) -> list[FitResult]:
        """Run several fits, one after another, and return their results in order."""
        return [to_fit_result(fit, *fit_encoder(fit, CPU, cores())) for fit in _with_progress(fits, what)]

    def fit_alone(self, fit: EncoderFit, storage: Storage, name: str, what: str) -> FitResult:
        """Run one fit from its first step. Nothing is written to ``storage``, so an interrupted fit starts again."""
        (result,) = self.fit_each([fit], what)
        return result

    def predict_each(self, fits: Sequence[NgramFit], what: str) -> list[Floats]:
        """Fit several n-gram views, one after another; return their probabilities (texts, classes) in order."""
        return [fit.predict() for fit in _with_progress(fits, what)]

    def embed(
        self, tokens: TokenIds, weights: dict[str, Any] | None, spec: EmbeddingSpec, what: str
    ) -> tuple[Floats, float]:
        """Embed texts; return embeddings (texts, hidden) and the throughput in tokens per second."""
        for _ in _with_progress([spec], what):
            embeddings, seconds = embed(tokens, weights, spec, CPU, cores())
        return embeddings, float(tokens.lengths.sum()) / max(seconds, 1e-3)


def cores() -> int:
    """Return how many cores this process may use, within the limits of its container."""
    return int(joblib.cpu_count())


def to_fit_result(fit: EncoderFit, weights: dict[str, Any], held_out: Floats, seconds: float, rate: float) -> FitResult:
    """Convert what ``fit_encoder`` returns to a FitResult."""
    tensors = {name: torch.tensor(array) for name, array in weights.items()}
    return FitResult(tensors, held_out, fit.steps, seconds, rate)


def _with_progress(work: Sequence[T], what: str) -> Iterator[T]:
    """Yield each item, and show how many items are done."""
    with meter(what, len(work)) as shown:
        for number, item in enumerate(work, start=1):
            yield item
            shown.update(number)
