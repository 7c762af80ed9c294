"""The choice of the executor: small work runs in this process; large work, or a request for a cluster, uses Ray."""

from __future__ import annotations

import json
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
    """Make every start of Ray fail."""

    def refuse(*_: Any, **__: Any) -> None:
        raise ConnectionError("Ray was started")

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(ray, "init", refuse)


def fitted(folder: Path, encoder: Path, *more: str) -> dict[str, Any]:
    """Fine-tune on a few labels, and return the tensors of the version."""
    given = settings(folder, encoder, "ray.job_tokens=200000", "ray.cpus_per_worker=0", *more, steps=10)
    result = finetune(load_settings(FinetuneSettings, None, given))
    assert result.steps == 10
    assert result.held_out is not None
    path = local_path(result.version.uri)
    assert path is not None
    return weights(path)


@pytest.mark.usefixtures("no_ray")
def test_few_labels_need_no_ray(tmp_path: Path, tiny_encoder: Path) -> None:
    fitted(tmp_path, tiny_encoder)
    assert not ray.is_initialized()
    with pytest.raises(EngineError, match="cannot start Ray on this machine"):
        fitted(tmp_path, tiny_encoder, "ray.job_tokens=1")
    with pytest.raises(EngineError, match="cannot start Ray on this machine"):
        fitted(tmp_path, tiny_encoder, "ray.workers=2")


@pytest.mark.usefixtures("no_ray")
def test_a_run_has_one_precision_and_records_it(tmp_path: Path, tiny_encoder: Path) -> None:
    measured = fitted(tmp_path, tiny_encoder, "training.precision=auto")
    recipe = json.loads((tmp_path / "registry/moods/versions/1/training.json").read_text())["recipe"]
    assert recipe["precision"] in {"bf16", "fp32"}
    again = fitted(tmp_path, tiny_encoder, f"training.precision={recipe['precision']}")
    assert all(np.array_equal(measured[name], again[name]) for name in measured)


def test_ray_and_this_process_learn_the_same_weights(tmp_path: Path, tiny_encoder: Path) -> None:
    here = fitted(tmp_path, tiny_encoder, "registry=" + str(tmp_path / "here"))
    there = fitted(tmp_path, tiny_encoder, "ray.cpus_per_worker=1", "registry=" + str(tmp_path / "there"))
    assert not ray.is_initialized(), "finetune must stop the cluster that it started"
    assert here.keys() == there.keys()
    assert all(np.allclose(here[name], there[name], atol=1e-4) for name in here)


def test_which_settings_ask_for_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_one_process_runs_one_piece_of_work_at_a_time() -> None:
    assert RayExecutor(RaySettings()).places == 1
    assert local_executor.cores() >= 1
