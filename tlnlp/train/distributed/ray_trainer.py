"""Run one fit as a Ray Train job: its workers share each batch, and an interrupted job resumes from a checkpoint."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
import ray.train
from ray.exceptions import RayError
from ray.train.torch import TorchTrainer

from tlnlp.config import RaySettings
from tlnlp.errors import EngineError, counted
from tlnlp.runs.background import repeated
from tlnlp.runs.progress import meter, say
from tlnlp.storage import Storage, local_path
from tlnlp.storage.s3 import is_s3, s3_of_environment
from tlnlp.train.distributed.checkpoints import load_result
from tlnlp.train.distributed.cluster import start
from tlnlp.train.distributed.progress_actor import Progress, train_worker
from tlnlp.train.distributed.shipped_encoder import ship
from tlnlp.train.fit.encoder_fit import EncoderFit, FitResult

POLL_S = 0.5


def run_fit(fit: EncoderFit, settings: RaySettings, storage: Storage, run_name: str, what: str) -> FitResult:
    """Run one fit as a Ray Train job. An interrupted job of the same name resumes from its last checkpoint.

    Args:
        fit: the inputs of the fit.
        settings: the workers, and how often they may fail.
        storage: where the job writes its checkpoints.
        run_name: the name of the job.
        what: the name under which progress is shown.

    Raises:
        EngineError: the workers failed more often than ``max_failures`` allows, or the code of a worker raised.
    """
    config, device = start(settings)
    began_s = time.monotonic()
    actor: Any = ray.remote(num_cpus=0)(Progress).remote()
    trainer = TorchTrainer(
        train_worker,
        train_loop_config={
            "fit": ray.put(fit),
            "encoder": ship(fit.encoder.name),
            "progress": actor,
            "checkpoint_every_s": settings.checkpoint_every_s,
        },
        scaling_config=config,
        run_config=ray.train.RunConfig(
            name=run_name,
            **_storage(storage),
            failure_config=ray.train.FailureConfig(max_failures=settings.max_failures),
            checkpoint_config=ray.train.CheckpointConfig(num_to_keep=1),
        ),
    )
    say(
        f"{what}: {fit.size}, {counted(fit.steps, 'step')}, "
        f"{counted(settings.workers, f'{device} worker')}, run {run_name}"
    )
    try:
        with _progress_shown(actor, what, fit.steps):
            result = trainer.fit()
    except Exception as error:  # Ray Train's own failures and those of workers have no common base class.
        raise EngineError(_failure(what, run_name, error)) from error
    losses, resumed = ray.get(actor.get.remote())
    seconds = time.monotonic() - began_s
    return replace(_read_result(result), seconds=seconds, losses=tuple(sorted(losses)), resumed=tuple(resumed))


def _storage(storage: Storage) -> dict[str, Any]:
    """Return the arguments of Ray Train that name the checkpoint folder."""
    if is_s3(storage.uri):
        filesystem = s3_of_environment(storage.uri).arrow_filesystem()
        return {"storage_path": storage.uri.removeprefix("s3://"), "storage_filesystem": filesystem}
    path = local_path(storage.uri)
    return {"storage_path": str(path) if path is not None else storage.uri}


def _read_result(result: ray.train.Result) -> FitResult:
    """Read the fitted model from the last checkpoint of a job."""
    if result.checkpoint is None:
        raise EngineError(
            "the Ray Train job ended without a checkpoint: the fitted model is lost: run the same command again"
        )
    with result.checkpoint.as_directory() as folder:
        return load_result(Path(folder))


@contextmanager
def _progress_shown(actor: Any, what: str, steps: int) -> Iterator[None]:
    """Show the progress that workers report to the actor, from a thread of the driver."""
    resumes_shown = 0

    def poll() -> None:
        nonlocal resumes_shown
        try:
            losses, resumed = ray.get(actor.get.remote(), timeout=5)
        except RayError:
            return
        for step in resumed[resumes_shown:]:
            say(f"{what}: resuming from step {step}")
        resumes_shown = len(resumed)
        if losses:
            shown.update(losses[-1][0], f"loss {losses[-1][1]:.3f}")

    with meter(what, steps) as shown, repeated(poll, POLL_S):
        yield


def _failure(what: str, run_name: str, error: Exception) -> str:
    failures = getattr(error, "worker_failures", None) or {}
    kinds = sorted({type(getattr(failure, "cause", None) or failure).__name__ for failure in failures.values()})
    cause = ", ".join(kinds) or type(error).__name__
    return (
        f"{what}: the Ray Train job {run_name} failed ({cause}): run the same command again to resume from its last "
        "checkpoint, or add --debug for the traceback"
    )
