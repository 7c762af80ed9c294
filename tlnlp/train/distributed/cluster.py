"""The Ray cluster of a run: joined or started when work first needs it, and what it has for the work."""

from __future__ import annotations

import os
from typing import Any

import ray
import ray.train
from ray.exceptions import RayError

from tlnlp.config import RaySettings
from tlnlp.errors import EngineError, UsageError
from tlnlp.runs import environment

# Train's controller takes one report a look. Left to look every 2 s, it holds up steps that are faster than that.
LOOK_EVERY_S = "0.25"
MAX_CORES_A_TASK = 4


def start(settings: RaySettings) -> tuple[ray.train.ScalingConfig, str]:
    """Join the cluster at ``address``, or start one on this machine, unless that was done.

    Returns what ``scaling`` returns.

    Raises:
        EngineError: the cluster cannot be reached or started.
        UsageError: the cluster does not have what the config asks for.
    """
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", LOOK_EVERY_S)
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
    """Return whether fits go to GPUs: where asked for, or where the cluster has one for each worker."""
    has = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return settings.device == "gpu" or (settings.device == "auto" and int(has.get("GPU", 0)) >= settings.workers)


def places(settings: RaySettings) -> int:
    """Return how many tasks of one core, or of one GPU, the cluster runs at once."""
    has = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return max(1, int(has.get("GPU" if uses_gpu(settings) else "CPU", 1)))


def scaling(settings: RaySettings) -> tuple[ray.train.ScalingConfig, str]:
    """Return the workers that the config asks for, checked against the cluster; and the device they train on.

    Raises:
        UsageError: the cluster does not have the GPUs or CPUs asked for.
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


def shares(settings: RaySettings, pieces: int) -> list[tuple[int, int]]:
    """Return the cores and GPUs of each piece of work, so that the cluster is shared among them; any node can run each.

    Where there are more pieces than places, those that are left for the last turn share the cores among them.
    """
    has = ray.cluster_resources()  # type: ignore[no-untyped-call]
    cpus = max(1, int(has.get("CPU", 1)))
    of_nodes = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    most = min(min((cores for cores in of_nodes if cores), default=1), MAX_CORES_A_TASK)
    if uses_gpu(settings):
        return [(min(most, max(1, cpus // max(1, int(has["GPU"])))), 1)] * pieces
    last = pieces % cpus
    return [(1, 0)] * (pieces - last) + [(min(most, cpus // last), 0)] * last if last else [(1, 0)] * pieces
