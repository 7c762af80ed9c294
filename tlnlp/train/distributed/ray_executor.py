"""Run the work of a recipe on a Ray cluster. Work that is too small for a cluster runs in this process."""

from __future__ import annotations

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
    """Provide an executor for a run, and shut Ray down after the run unless Ray ran before.

    Raises:
        EngineError: the cluster cannot be reached or started.
        UsageError: the cluster has fewer CPUs or GPUs than the settings require.
    """
    environment.apply_defaults()
    ran_before, executor = ray.is_initialized(), RayExecutor(settings)
    try:
        if not executor.is_small(0.0):
            executor.start()
        yield executor
    finally:
        if not ran_before:
            cluster.stop()


class RayExecutor:
    """Run the work of a recipe on a Ray cluster. Implements ``Executor``."""

    def __init__(self, settings: RaySettings) -> None:
        self._settings = settings
        self._local = LocalExecutor()
        self._started = False

    @property
    def places(self) -> int:
        """Return how many tasks run at the same time; 1, in this process, until the cluster is started."""
        return cluster.places(self._settings) if ray.is_initialized() else self._local.places

    @property
    def has_gpus(self) -> bool:
        """Return whether the work runs on GPUs; False until the cluster is started."""
        return ray.is_initialized() and cluster.uses_gpu(self._settings)

    def start(self) -> None:
        """Join or start the cluster, and make its processes import what tasks need. Raises EngineError, UsageError."""
        if not self._started:
            cluster.start(self._settings)
            tasks.warm_up(self._settings)
            self._started = True

    def is_small(self, tokens: float) -> bool:
        """Return whether work on this many tokens runs in this process.

        It does where no cluster runs, the settings require none, the work is small, and no GPU would be used.
        """
        settings = self._settings
        required = cluster.address_of(settings) or settings.workers > 1
        if ray.is_initialized() or required or settings.cpus_per_worker or tokens > settings.job_tokens:
            return False
        return settings.device == "cpu" or (settings.device == "auto" and not torch.cuda.is_available())

    def needs_job(self, fit: EncoderFit) -> bool:
        """Return whether a fit runs as a Ray Train job. A small fit takes less time than the start of a job."""
        return fit.learned_tokens > self._settings.jobless_tokens

    def fit_each(self, fits: Sequence[EncoderFit], what: str) -> list[FitResult]:
        """Run several fits at the same time, and return their results in order. Raises EngineError."""
        if self.is_small(sum(fit.learned_tokens for fit in fits)):
            return self._local.fit_each(fits, what)
        cluster.start(self._settings)
        return tasks.fit_each(fits, self._settings, what)

    def fit_alone(self, fit: EncoderFit, storage: Storage, name: str, what: str) -> FitResult:
        """Run one fit on the whole cluster: as a Ray Train job if ``needs_job``, else as a task. Raises EngineError."""
        if self.needs_job(fit):
            return ray_trainer.run_fit(fit, self._settings, storage, name, what)
        (result,) = self.fit_each([fit], what)
        return result

    def predict_each(self, fits: Sequence[NgramFit], what: str) -> list[Floats]:
        """Fit several n-gram views at the same time, and return their probabilities (texts, classes) in order.

        Raises:
            EngineError: a task failed.
        """
        if self.is_small(0.0):
            return self._local.predict_each(fits, what)
        cluster.start(self._settings)
        return tasks.predict_each(fits, self._settings, what)

    def embed(
        self, tokens: TokenIds, weights: dict[str, Any] | None, spec: EmbeddingSpec, what: str
    ) -> tuple[Floats, float]:
        """Embed texts; return embeddings (texts, hidden) and the throughput in tokens per second.

        Raises:
            EngineError: a task failed.
        """
        if self.is_small(float(tokens.lengths.sum())):
            return self._local.embed(tokens, weights, spec, what)
        cluster.start(self._settings)
        return tasks.embed(tokens, weights, spec, self._settings, what)
