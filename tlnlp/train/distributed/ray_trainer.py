"""One fit as a Ray Train job: start or join a cluster, share the fit among its workers, resume what was cut short."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray
import ray.train
from ray.exceptions import RayError
from ray.train.torch import TorchTrainer
from safetensors.torch import load_file

from tlnlp.config import RaySettings
from tlnlp.errors import EngineError, UsageError
from tlnlp.model.combine import Floats
from tlnlp.runs import environment
from tlnlp.runs.background import repeated
from tlnlp.runs.progress import meter, say
from tlnlp.storage import Storage, local_path
from tlnlp.storage.s3 import is_s3, s3_of_environment
from tlnlp.train.distributed import in_process
from tlnlp.train.distributed.progress_actor import Progress, train_worker
from tlnlp.train.distributed.shipped_encoder import ship
from tlnlp.train.distributed.worker import PREDICTIONS_FILE, STATE_FILE, STEP_FILE
from tlnlp.train.fit.trainer import Fit

POLL_S = 0.5
# Train's controller takes one report a look. Left to look every 2 s, it holds up steps that are faster than that.
LOOK_EVERY_S = "0.25"


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


@contextmanager
def cluster(settings: RaySettings) -> Iterator[None]:
    """A Ray cluster for the length of a job, from when work first needs it; one that runs already is left running.

    Raises:
        EngineError: it cannot be reached or started.
        UsageError: the cluster has not what the config asks for.
    """
    environment.apply_defaults()
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", LOOK_EVERY_S)
    around = ray.is_initialized()
    try:
        if around or not in_process.suffices(settings, 0.0):
            start(settings)
        yield
    finally:
        if not around:
            ray.shutdown()


def start(settings: RaySettings) -> tuple[ray.train.ScalingConfig, str]:
    """Join the cluster at ``address``, or start one on this machine, unless that was done; what ``scaling`` says of it.

    Raises:
        EngineError: it cannot be reached or started.
        UsageError: the cluster has not what the config asks for.
    """
    if not ray.is_initialized():
        _init(settings)
    return scaling(settings)


def _init(settings: RaySettings) -> None:
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "error", "configure_logging": True}
    address = settings.address or os.environ.get("RAY_ADDRESS")
    if address is None:
        options |= {"address": "local", "include_dashboard": False}
        # One process fewer for each job: nobody reclaims a machine of our own.
        os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
    else:
        options |= {"address": address}
    try:
        ray.init(runtime_env={"env_vars": environment.inherited()}, **options)
    except (RayError, OSError, ConnectionError, RuntimeError, ValueError) as error:
        where = f"the Ray cluster at {address}" if address else "Ray on this machine"
        raise EngineError(f"cannot start or join {where} ({type(error).__name__}); check the address") from error


def uses_gpu(settings: RaySettings) -> bool:
    """Whether fits go to GPUs: where asked for, or where the cluster has one for each worker."""
    has = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return settings.device == "gpu" or (settings.device == "auto" and int(has.get("GPU", 0)) >= settings.workers)


def places(settings: RaySettings) -> int:
    """How many tasks of one core, or one GPU, the cluster runs at once; this process, one that uses all its cores."""
    if not ray.is_initialized():
        return 1
    has = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return max(1, int(has.get("GPU" if uses_gpu(settings) else "CPU", 1)))


def scaling(settings: RaySettings) -> tuple[ray.train.ScalingConfig, str]:
    """The workers that the config asks for, checked against the cluster; and the device they train on.

    Raises:
        UsageError: the cluster has not the GPUs or CPUs asked for.
    """
    has = ray.cluster_resources()  # type: ignore[no-untyped-call]
    gpus, cpus = int(has.get("GPU", 0)), int(has.get("CPU", 0))
    use_gpu = uses_gpu(settings)
    if use_gpu and gpus < settings.workers:
        raise UsageError(f"ray.device=gpu with {settings.workers} workers, but the cluster has {gpus} GPUs")
    per_worker = settings.cpus_per_worker or max(1, cpus // settings.workers)
    if per_worker * settings.workers > cpus:
        raise UsageError(
            f"{settings.workers} workers of {per_worker} CPUs asked for, but the cluster has {cpus}; "
            "lower ray.workers or ray.cpus_per_worker"
        )
    config = ray.train.ScalingConfig(
        num_workers=settings.workers,
        use_gpu=use_gpu,
        resources_per_worker={"CPU": per_worker} | ({"GPU": 1} if use_gpu else {}),
    )
    return config, "gpu" if use_gpu else "cpu"


def run_fit(fit: Fit, settings: RaySettings, storage: Storage, run_name: str, what: str) -> FitResult:
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
        for start in resumed[told:]:
            say(f"{what}: resuming from step {start}")
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
