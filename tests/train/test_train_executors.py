"""Small work on labels alone needs no Ray; what is large, or asks for a cluster, gets one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
import torch
from train_kit import settings, weights

from tlnlp.config import FinetuneSettings, RaySettings, load_settings
from tlnlp.errors import EngineError
from tlnlp.storage.uri import local_path
from tlnlp.train import local_executor
from tlnlp.train.distributed.ray_executor import RayExecutor
from tlnlp.train.finetune import finetune


@pytest.fixture
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """A start of Ray fails, as where it is not wanted."""

    def refuse(*_: Any, **__: Any) -> None:
        raise ConnectionError("Ray was started")

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(ray, "init", refuse)


def fitted(folder: Path, encoder: Path, *more: str) -> dict[str, Any]:
    given = settings(folder, encoder, "ray.job_tokens=200000", "ray.cpus_per_worker=0", *more, steps=10)
    found = finetune(load_settings(FinetuneSettings, None, given))
    assert found.steps == 10
    assert found.held_out is not None
    path = local_path(found.version.uri)
    assert path is not None
    return weights(path)


@pytest.mark.usefixtures("no_ray")
def test_few_labels_are_learned_from_without_ray(tmp_path: Path, tiny_encoder: Path) -> None:
    fitted(tmp_path, tiny_encoder)
    assert not ray.is_initialized()
    with pytest.raises(EngineError, match="cannot start or join Ray on this machine"):
        fitted(tmp_path, tiny_encoder, "ray.job_tokens=1")
    with pytest.raises(EngineError, match="cannot start or join Ray on this machine"):
        fitted(tmp_path, tiny_encoder, "ray.workers=2")


def test_with_ray_the_same_is_learned(tmp_path: Path, tiny_encoder: Path) -> None:
    here = fitted(tmp_path, tiny_encoder, "registry=" + str(tmp_path / "here"))
    there = fitted(tmp_path, tiny_encoder, "ray.cpus_per_worker=1", "registry=" + str(tmp_path / "there"))
    assert not ray.is_initialized(), "what was started is ended"
    assert here.keys() == there.keys()
    assert all(np.allclose(here[name], there[name], atol=1e-4) for name in here)


def test_what_needs_a_cluster_gets_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert RayExecutor(RaySettings()).is_small(0.0)
    assert not RayExecutor(RaySettings()).is_small(1e9)
    for asked in ({"workers": 2}, {"address": "auto"}, {"cpus_per_worker": 1}, {"device": "gpu"}):
        assert not RayExecutor(RaySettings(**asked)).is_small(0.0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert not RayExecutor(RaySettings()).is_small(0.0), "a GPU is used by Ray's workers"
    assert RayExecutor(RaySettings(device="cpu")).is_small(0.0)
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    assert not RayExecutor(RaySettings()).is_small(0.0)


def test_a_process_alone_is_one_place() -> None:
    assert RayExecutor(RaySettings()).places == 1
    assert local_executor.cores() >= 1
