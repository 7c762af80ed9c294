"""Many small pieces of work side by side on a Ray cluster.

They are tasks, not actors: Ray hands tasks to processes that have imported all they need, and importing takes longer
than many a task.
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
from tlnlp.train.distributed.cluster import MAX_CORES_A_TASK, places, shares
from tlnlp.train.distributed.shipped_encoder import ShippedEncoder, laid, ship
from tlnlp.train.fit import work
from tlnlp.train.fit.encoder_fit import EmbeddingSpec, EncoderFit, FitResult
from tlnlp.train.fit.ngram_fit import NgramFit
from tlnlp.train.local_executor import result_of

# Texts that a task reads; of like length, since neighbours are padded alike.
CHUNK = 128


def warm_up(settings: RaySettings) -> None:
    """Have a process of the cluster for each core import what tasks need, before the first task waits for it."""
    remote: Any = ray.remote(num_cpus=1, max_calls=0)(_import)
    for _ in range(min(places(settings), MAX_CORES_A_TASK)):
        remote.remote()


def _import() -> None:
    """Do nothing: that this can run means that this module has been imported."""


def fit_each(fits: Sequence[EncoderFit], settings: RaySettings, what: str) -> list[FitResult]:
    """Run fits side by side, each on a share of the cluster; a lost task is started again. Raises EngineError."""
    given = shares(settings, len(fits))
    jobs = [(ray.put(fit), ship(fit.encoder.name), cores) for fit, (cores, _) in zip(fits, given, strict=True)]
    found = _side_by_side(_fit, jobs, settings, given, what)
    return [result_of(fit, *one) for fit, one in zip(fits, found, strict=True)]


def predict_each(fits: Sequence[NgramFit], settings: RaySettings, what: str) -> list[Floats]:
    """Fit n-gram views side by side; return what each predicts, (texts, classes). Raises EngineError."""
    jobs = [(ray.put(fit),) for fit in fits]
    return _side_by_side(NgramFit.predict, jobs, settings, [(1, 0)] * len(jobs), what)


def embed(
    tokens: TokenIds, weights: dict[str, Any] | None, spec: EmbeddingSpec, settings: RaySettings, what: str
) -> tuple[Floats, float]:
    """Embed texts, a chunk of them in each task; return embeddings (texts, hidden), and how many tokens a second the
    cluster read. Raises EngineError."""
    order = np.argsort(-tokens.lengths, kind="stable")
    chunks = [order[start : start + CHUNK] for start in range(0, len(order), CHUNK)]
    given = shares(settings, len(chunks))
    arrays = None if weights is None else ray.put({name: tensor.numpy() for name, tensor in weights.items()})
    encoder = ship(spec.encoder.name)
    jobs = [
        (ray.put(tokens.take(chunk)), arrays, spec, encoder, cores)
        for chunk, (cores, _) in zip(chunks, given, strict=True)
    ]
    parts = _side_by_side(_embed, jobs, settings, given, what)
    embeddings = np.concatenate([part for part, _ in parts])
    found = np.empty_like(embeddings)
    found[order] = embeddings
    # Core or GPU seconds of all tasks, over all that the cluster has.
    used = sum(seconds * (gpus or cores) for (_, seconds), (cores, gpus) in zip(parts, given, strict=True))
    return found, float(tokens.lengths.sum()) / max(used / places(settings), 1e-3)


def _fit(fit: EncoderFit, encoder: ShippedEncoder | str, cores: int) -> tuple[dict[str, Any], Floats, float, float]:
    return work.fit_encoder(replace(fit, encoder=laid(fit.encoder, encoder)), _device(), cores)


def _embed(
    tokens: TokenIds, weights: dict[str, Any] | None, spec: EmbeddingSpec, encoder: ShippedEncoder | str, cores: int
) -> tuple[Floats, float]:
    return work.embed(tokens, weights, replace(spec, encoder=laid(spec.encoder, encoder)), _device(), cores)


def _device() -> torch.device:
    return torch.device("cuda" if ray.get_gpu_ids() else "cpu")


def _side_by_side(
    task: Callable[..., Any],
    jobs: Sequence[tuple[Any, ...]],
    settings: RaySettings,
    given: Sequence[tuple[int, int]],
    what: str,
) -> list[Any]:
    # Else (max_calls) Ray ends a process after each task on a GPU, and the next imports all it needs again.
    remote: Any = ray.remote(max_retries=settings.max_failures, max_calls=0)(task)
    tasks = [
        remote.options(num_cpus=cores, num_gpus=gpus).remote(*job)
        for job, (cores, gpus) in zip(jobs, given, strict=True)
    ]
    waiting = list(tasks)
    try:
        with meter(what, len(tasks)) as shown:
            while waiting:
                _, waiting = ray.wait(waiting, timeout=1.0)
                shown.update(len(tasks) - len(waiting))
        return list(ray.get(tasks))
    except RayError as error:
        raise EngineError(_lost(what, error)) from error


def _lost(what: str, error: Exception) -> str:
    kind = type(getattr(error, "cause", None) or error).__name__
    return f"{what}: a task on the Ray cluster failed ({kind}); run the same command again, or add --debug"
