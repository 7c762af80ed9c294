"""Run many small fits and embedding passes at the same time, as tasks on a Ray cluster.

Ray runs tasks in processes that have already imported what they need. Actors would start a process each, and the
imports take longer than many of the tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import ray
import torch
from ray.exceptions import RayError

from tlnlp.config import RaySettings
from tlnlp.errors import EngineError
from tlnlp.model.combine import Floats
from tlnlp.model.tokenize import TokenIds
from tlnlp.runs.progress import meter
from tlnlp.train.distributed.cluster import MAX_CORES_A_TASK, allocations, places
from tlnlp.train.distributed.shipped_encoder import ShippedEncoder, ship, with_local_encoder
from tlnlp.train.fit import run_fit
from tlnlp.train.fit.encoder_fit import EmbeddingSpec, EncoderFit, FitResult
from tlnlp.train.fit.ngram_fit import NgramFit
from tlnlp.train.local_executor import to_fit_result

# Texts per embedding task. The texts of a task have similar lengths, which keeps padding small. With int8 weights texts
# take less time, and quantising the weights takes each task half a second.
CHUNK, INT8_CHUNK = 128, 512


def warm_up(settings: RaySettings) -> None:
    """Make processes of the cluster import what tasks need, so that the first tasks do not wait for the imports."""
    remote: Any = ray.remote(num_cpus=1, max_calls=0)(_import)
    for _ in range(min(places(settings), MAX_CORES_A_TASK)):
        remote.remote()


def _import() -> None:
    """Do nothing. To run this function, a process imports this module, and that is the purpose."""


def fit_each(fits: Sequence[EncoderFit], settings: RaySettings, what: str) -> list[FitResult]:
    """Run several fits at the same time, each on a part of the cluster, and return their results in order.

    Raises:
        EngineError: a task failed more often than ``max_failures`` allows.
    """
    resources = allocations(settings, len(fits))
    jobs = [(ray.put(fit), ship(fit.encoder.name), cores) for fit, (cores, _) in zip(fits, resources, strict=True)]
    outputs = _run_tasks(_fit, jobs, settings, resources, what)
    return [to_fit_result(fit, *output) for fit, output in zip(fits, outputs, strict=True)]


def predict_each(fits: Sequence[NgramFit], settings: RaySettings, what: str) -> list[Floats]:
    """Fit several n-gram views at the same time, and return their probabilities (texts, classes) in order.

    Raises:
        EngineError: a task failed more often than ``max_failures`` allows.
    """
    jobs = [(ray.put(fit),) for fit in fits]
    return _run_tasks(NgramFit.predict, jobs, settings, [(1, 0)] * len(jobs), what)


def embed(
    tokens: TokenIds, weights: dict[str, Any] | None, spec: EmbeddingSpec, settings: RaySettings, what: str
) -> tuple[Floats, float]:
    """Embed texts, one chunk of texts per task.

    Returns:
        Embeddings (texts, hidden); the throughput of the whole cluster in tokens per second.

    Raises:
        EngineError: a task failed more often than ``max_failures`` allows.
    """
    order = np.argsort(-tokens.lengths, kind="stable")
    size = INT8_CHUNK if spec.precision == run_fit.INT8 else CHUNK
    chunks = [order[start : start + size] for start in range(0, len(order), size)]
    resources = allocations(settings, len(chunks))
    arrays = None if weights is None else ray.put({name: tensor.numpy() for name, tensor in weights.items()})
    encoder = ship(spec.encoder.name)
    jobs = [
        (ray.put(tokens.take(chunk)), arrays, spec, encoder, cores)
        for chunk, (cores, _) in zip(chunks, resources, strict=True)
    ]
    parts = _run_tasks(_embed, jobs, settings, resources, what)
    sorted_embeddings = np.concatenate([part for part, _ in parts])
    embeddings = np.empty_like(sorted_embeddings)
    embeddings[order] = sorted_embeddings
    # Core seconds or GPU seconds of all tasks; divided by the places, the time that a full cluster would take.
    used = sum(seconds * (gpus or cores) for (_, seconds), (cores, gpus) in zip(parts, resources, strict=True))
    return embeddings, float(tokens.lengths.sum()) / max(used / places(settings), 1e-3)


def _fit(fit: EncoderFit, encoder: ShippedEncoder | str, cores: int) -> tuple[dict[str, Any], Floats, float, float]:
    return run_fit.fit_encoder(replace(fit, encoder=with_local_encoder(fit.encoder, encoder)), _device(), cores)


def _embed(
    tokens: TokenIds, weights: dict[str, Any] | None, spec: EmbeddingSpec, encoder: ShippedEncoder | str, cores: int
) -> tuple[Floats, float]:
    spec = replace(spec, encoder=with_local_encoder(spec.encoder, encoder))
    return run_fit.embed(tokens, weights, spec, _device(), cores)


def _device() -> torch.device:
    return torch.device("cuda" if ray.get_gpu_ids() else "cpu")


def _run_tasks(
    task: Callable[..., Any],
    jobs: Sequence[tuple[Any, ...]],
    settings: RaySettings,
    resources: Sequence[tuple[int, int]],
    what: str,
) -> list[Any]:
    """Run a function on each tuple of arguments, with the cores and GPUs given for it; return the results in order."""
    # By default Ray ends a process after each GPU task, and the next process repeats the imports; max_calls=0 does not.
    remote: Any = ray.remote(max_retries=settings.max_failures, max_calls=0)(task)
    tasks = [
        remote.options(num_cpus=cores, num_gpus=gpus).remote(*job)
        for job, (cores, gpus) in zip(jobs, resources, strict=True)
    ]
    waiting = list(tasks)
    try:
        with meter(what, len(tasks)) as shown:
            while waiting:
                _, waiting = ray.wait(waiting, timeout=1.0)
                shown.update(len(tasks) - len(waiting))
        return list(ray.get(tasks))
    except RayError as error:
        raise EngineError(_failure(what, error)) from error


def _failure(what: str, error: Exception) -> str:
    kind = type(getattr(error, "cause", None) or error).__name__
    return (
        f"{what}: a task on the Ray cluster failed ({kind}): run the same command again, or add --debug for the "
        "traceback"
    )
