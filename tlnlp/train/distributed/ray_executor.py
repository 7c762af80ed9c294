"""The recipe's work on a Ray cluster, which is started once work is worth it; smaller work stays in this process."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import ray
import torch

from tlnlp.config import RaySettings
from tlnlp.model.combine import Floats
from tlnlp.model.tokenize import TokenIds
from tlnlp.runs import environment
from tlnlp.storage import Storage
from tlnlp.train.distributed import cluster, ray_trainer, tasks
from tlnlp.train.fit.encoder_fit import EmbeddingSpec, EncoderFit, FitResult
from tlnlp.train.fit.ngram_fit import NgramFit
from tlnlp.train.local_executor import LocalExecutor


@contextmanager
def ray_executor(settings: RaySettings) -> Iterator[RayExecutor]:
    """An executor for the length of a run; a cluster that runs already is left running.

    Raises:
        EngineError: the cluster cannot be reached or started.
        UsageError: the cluster does not have what the config asks for.
    """
    environment.apply_defaults()
    around, executor = ray.is_initialized(), RayExecutor(settings)
    try:
        if not executor.is_small(0.0):
            executor.start()
        yield executor
    finally:
        if not around:
            ray.shutdown()


class RayExecutor:
    """Runs the work of a recipe on a Ray cluster. Implements ``Executor``."""

    def __init__(self, settings: RaySettings) -> None:
        self._settings = settings
        self._local = LocalExecutor()

    @property
    def places(self) -> int:
        """How many pieces of work run side by side; one, in this process, until the cluster is started."""
        return cluster.places(self._settings) if ray.is_initialized() else self._local.places

    def start(self) -> None:
        """Join or start the cluster, and have its processes import what they need. Raises EngineError, UsageError."""
        cluster.start(self._settings)
        tasks.warm_up(self._settings)

    def is_small(self, tokens: float) -> bool:
        """Return whether work on so many tokens stays in this process: no cluster runs or is asked for, and there is no
        GPU."""
        settings = self._settings
        asked_for = settings.address or os.environ.get("RAY_ADDRESS") or settings.workers > 1
        if ray.is_initialized() or asked_for or settings.cpus_per_worker or tokens > settings.job_tokens:
            return False
        return settings.device == "cpu" or (settings.device == "auto" and not torch.cuda.is_available())

    def needs_job(self, fit: EncoderFit) -> bool:
        """Return whether a fit is worth a Ray Train job of its own, whose start takes longer than a small fit does."""
        return fit.learned_tokens > self._settings.jobless_tokens

    def fit_each(self, fits: Sequence[EncoderFit], what: str) -> list[FitResult]:
        """Run several fits side by side. Raises EngineError."""
        if self.is_small(sum(fit.learned_tokens for fit in fits)):
            return self._local.fit_each(fits, what)
        cluster.start(self._settings)
        return tasks.fit_each(fits, self._settings, what)

    def fit_alone(self, fit: EncoderFit, storage: Storage, name: str, what: str) -> FitResult:
        """Run one fit on the whole cluster, as a Ray Train job where it is worth one. Raises EngineError."""
        if self.needs_job(fit):
            return ray_trainer.run_fit(fit, self._settings, storage, name, what)
        (result,) = self.fit_each([fit], what)
        return result

    def predict_each(self, fits: Sequence[NgramFit], what: str) -> list[Floats]:
        """Fit several n-gram views side by side; return what each predicts, (texts, classes). Raises EngineError."""
        if self.is_small(0.0):
            return self._local.predict_each(fits, what)
        cluster.start(self._settings)
        return tasks.predict_each(fits, self._settings, what)

    def embed(
        self, tokens: TokenIds, weights: dict[str, Any] | None, spec: EmbeddingSpec, what: str
    ) -> tuple[Floats, float]:
        """Embed texts; return embeddings (texts, hidden), and tokens read a second. Raises EngineError."""
        if self.is_small(float(tokens.lengths.sum())):
            return self._local.embed(tokens, weights, spec, what)
        cluster.start(self._settings)
        return tasks.embed(tokens, weights, spec, self._settings, what)
