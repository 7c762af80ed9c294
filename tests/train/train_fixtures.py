"""Fixtures of the tests of training."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import ray

from tlnlp.runs import environment


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """Start a Ray cluster with two CPUs, which ``finetune`` joins."""
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "error", "include_dashboard": False}
    ray.init("local", num_cpus=2, num_gpus=0, runtime_env={"env_vars": environment.inherited()}, **options)
    yield
    ray.shutdown()
