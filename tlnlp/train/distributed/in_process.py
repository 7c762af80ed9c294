"""Fits and readings that are too small for a cluster: in this process, one after another, each on all of its cores.

Starting Ray, and having its workers import torch, takes longer than a fit of a few dozen labels does.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import joblib
import ray
import torch

from tlnlp.config import RaySettings
from tlnlp.runs.progress import meter


def suffices(settings: RaySettings, tokens: float) -> bool:
    """Whether work on so many tokens needs no Ray: it is small, no cluster runs or is asked for, no GPU is there."""
    asked_for = settings.address or os.environ.get("RAY_ADDRESS") or settings.workers > 1 or settings.cpus_per_worker
    if ray.is_initialized() or asked_for or tokens > settings.job_tokens:
        return False
    return settings.device == "cpu" or (settings.device == "auto" and not torch.cuda.is_available())


def cores() -> int:
    """How many this process may use, limits of a container heeded."""
    return int(joblib.cpu_count())


def one_by_one(work: Callable[..., Any], jobs: Sequence[tuple[Any, ...]], what: str) -> list[Any]:
    """What ``work`` returns for each of the jobs."""
    results = []
    with meter(what, len(jobs)) as shown:
        for job in jobs:
            results.append(work(*job))
            shown.update(len(results))
    return results
