"""One fit as a Ray Train job: start or join a cluster, share the fit among its workers, resume what was cut short."""

from __future__ import annotations

import json
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
from safetensors.torch import load_file

from tlnlp.config import RaySettings
from tlnlp.errors import EngineError
from tlnlp.runs.background import repeated
from tlnlp.runs.progress import meter, say
from tlnlp.storage import Storage, local_path
from tlnlp.storage.s3 import is_s3, s3_of_environment
from tlnlp.train.distributed.cluster import start
from tlnlp.train.distributed.progress_actor import Progress, train_worker
from tlnlp.train.distributed.shipped_encoder import ship
from tlnlp.train.distributed.worker import PREDICTIONS_FILE, STATE_FILE, STEP_FILE
from tlnlp.train.fit.encoder_fit import EncoderFit, FitResult

POLL_S = 0.5


def run_fit(fit: EncoderFit, settings: RaySettings, storage: Storage, run_name: str, what: str) -> FitResult:
    """Train one model as a Ray Train job; a job of this name that was cut short goes on from its last checkpoint.

    Raises:
        EngineError: the workers failed more often than ``max_failures`` allows, or with a fault of the program.
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
        f"{what}: {len(fit.tokens)} examples, {fit.steps} steps on {settings.workers} {device} worker(s), "
        f"run {run_name}"
    )
    try:
        with _watched(actor, what, fit.steps):
            result = trainer.fit()
    except Exception as error:  # Train's own failures, and what a worker raised, arrive as many classes.
        raise EngineError(_failure(what, run_name, error)) from error
    losses, resumed = ray.get(actor.get.remote())
    seconds = time.monotonic() - began_s
    return replace(_read_result(result), seconds=seconds, losses=tuple(sorted(losses)), resumed=tuple(resumed))


def _storage(storage: Storage) -> dict[str, Any]:
    """Where checkpoints go, in the words of Ray Train."""
    if is_s3(storage.uri):
        filesystem = s3_of_environment(storage.uri).arrow_filesystem()
        return {"storage_path": storage.uri.removeprefix("s3://"), "storage_filesystem": filesystem}
    path = local_path(storage.uri)
    return {"storage_path": str(path) if path is not None else storage.uri}


def _read_result(result: ray.train.Result) -> FitResult:
    if result.checkpoint is None:
        raise EngineError("the training job ended without a checkpoint; run the command again")
    with result.checkpoint.as_directory() as folder:
        told = json.loads((Path(folder) / STEP_FILE).read_text())
        tensors = load_file(Path(folder) / STATE_FILE)
        held_out = load_file(Path(folder) / PREDICTIONS_FILE)["probabilities"].numpy()
    weights = {name.removeprefix("model."): tensor for name, tensor in tensors.items() if name.startswith("model.")}
    return FitResult(weights, held_out, int(told["step"]), rate=float(told["steps_per_s"]))


@contextmanager
def _watched(actor: Any, what: str, steps: int) -> Iterator[None]:
    """Show what the workers tell the actor, from a thread of the driver."""
    told = 0

    def look() -> None:
        nonlocal told
        try:
            losses, resumed = ray.get(actor.get.remote(), timeout=5)
        except RayError:
            return
        for step in resumed[told:]:
            say(f"{what}: resuming from step {step}")
        told = len(resumed)
        if losses:
            shown.update(losses[-1][0], f"loss {losses[-1][1]:.3f}")

    with meter(what, steps) as shown, repeated(look, POLL_S):
        yield


def _failure(what: str, run_name: str, error: Exception) -> str:
    failures = getattr(error, "worker_failures", None) or {}
    kinds = sorted({type(getattr(failure, "cause", None) or failure).__name__ for failure in failures.values()})
    cause = ", ".join(kinds) or type(error).__name__
    return (
        f"{what}: the Ray Train job {run_name} failed ({cause}); run the same command again to go on from its last "
        "checkpoint, or add --debug for the traceback"
    )
