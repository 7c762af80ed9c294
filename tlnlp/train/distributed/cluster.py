"""Join or start the Ray cluster of a run, and divide its cores and GPUs among tasks."""

from __future__ import annotations

import os

import ray
import ray.train

from tlnlp.config import RaySettings
from tlnlp.errors import UsageError
from tlnlp.train.distributed import local_cluster
from tlnlp.train.distributed.remote_cluster import join

# The controller of Ray Train takes one report from the workers per poll. Its default, 2 s, delays fast steps.
CONTROLLER_POLL_S = "0.25"
MAX_CORES_A_TASK = 4


def start(settings: RaySettings) -> tuple[ray.train.ScalingConfig, str]:
    """Join the cluster at ``ray.address``, or start one on this machine; do neither if this process has one already.

    Returns:
        The same values as ``scaling``.

    Raises:
        EngineError: the cluster cannot be reached or started.
        UsageError: the cluster has fewer CPUs or GPUs than the settings require.
    """
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", CONTROLLER_POLL_S)
    if not ray.is_initialized():
        _init(settings)
    return scaling(settings)


def address_of(settings: RaySettings) -> str | None:
    """Return the address of the cluster that the settings or RAY_ADDRESS name; None for Ray on this machine."""
    return settings.address or os.environ.get("RAY_ADDRESS")


def _init(settings: RaySettings) -> None:
    address = address_of(settings)
    if address and address != "local":
        join(address, "ray.address" if settings.address else "RAY_ADDRESS")
    else:
        local_cluster.start()


def stop() -> None:
    """Shut Ray down, and remove what a cluster on this machine leaves."""
    ray.shutdown()
    local_cluster.clean()


def uses_gpu(settings: RaySettings) -> bool:
    """Return whether fits run on GPUs: ``ray.device`` is gpu, or it is auto and each worker can have a GPU."""
    resources = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return settings.device == "gpu" or (settings.device == "auto" and int(resources.get("GPU", 0)) >= settings.workers)


def places(settings: RaySettings) -> int:
    """Return how many tasks of one GPU, or else of one core, the cluster runs at the same time."""
    resources = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return max(1, int(resources.get("GPU" if uses_gpu(settings) else "CPU", 1)))


def scaling(settings: RaySettings) -> tuple[ray.train.ScalingConfig, str]:
    """Return the scaling configuration of a Ray Train job, and the device of its workers (``gpu`` or ``cpu``).

    Raises:
        UsageError: the cluster has fewer CPUs or GPUs than the settings require.
    """
    resources = ray.cluster_resources()  # type: ignore[no-untyped-call]
    gpus, cpus = int(resources.get("GPU", 0)), int(resources.get("CPU", 0))
    use_gpu, workers = uses_gpu(settings), settings.workers
    if use_gpu and gpus < workers:
        raise UsageError(
            f"the cluster has too few GPUs: ray.workers={workers} with one GPU per worker, the cluster has {gpus}: "
            "lower ray.workers or set ray.device=cpu"
        )
    per_worker = settings.cpus_per_worker or max(1, cpus // workers)
    if per_worker * workers > cpus:
        raise UsageError(
            f"the cluster has too few CPUs: ray.workers={workers} times {per_worker} per worker needs "
            f"{per_worker * workers}, the cluster has {cpus}: lower ray.workers or ray.cpus_per_worker"
        )
    config = ray.train.ScalingConfig(
        num_workers=workers,
        use_gpu=use_gpu,
        resources_per_worker={"CPU": per_worker} | ({"GPU": 1} if use_gpu else {}),
    )
    return config, "gpu" if use_gpu else "cpu"


def allocations(settings: RaySettings, tasks: int) -> list[tuple[int, int]]:
    """Return the cores and GPUs of each task, so that the tasks use the whole cluster and each fits on any node.

    A task gets one core. The tasks of an incomplete last turn divide all cores among them.
    """
    resources = ray.cluster_resources()  # type: ignore[no-untyped-call]
    cpus = max(1, int(resources.get("CPU", 1)))
    node_cores = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    max_cores = min(min((cores for cores in node_cores if cores), default=1), MAX_CORES_A_TASK)
    if uses_gpu(settings):
        return [(min(max_cores, max(1, cpus // max(1, int(resources["GPU"])))), 1)] * tasks
    last = tasks % cpus
    return [(1, 0)] * (tasks - last) + [(min(max_cores, cpus // last), 0)] * last if last else [(1, 0)] * tasks
