"""What every worker of a Ray Train job runs: one fit, its reports and its checkpoints."""

from __future__ import annotations

import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import ray
import ray.train
import ray.train.torch
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tlnlp.train.distributed.shipped_encoder import laid
from tlnlp.train.fit.encoder_fit import EncoderFit
from tlnlp.train.fit.stopwatch import Stopwatch
from tlnlp.train.fit.trainer import Trainer

STATE_FILE = "state.safetensors"
STEP_FILE = "step.json"
PREDICTIONS_FILE = "predictions.safetensors"


def train_worker(config: dict[str, Any]) -> None:
    """Entry point of a worker; ``config``: ``fit`` (object reference), ``encoder`` (as ``ship`` returned it),
    ``progress`` (actor), ``checkpoint_every_s``."""
    fit: EncoderFit = ray.get(config["fit"])
    fit = replace(fit, encoder=laid(fit.encoder, config["encoder"]))
    context = ray.train.get_context()
    rank, world = context.get_world_rank(), context.get_world_size()
    learner = Trainer(fit, ray.train.torch.get_device(), (rank, world))
    start = _restore(learner)
    if start == 0:
        learner.begin()
    elif rank == 0:
        config["progress"].resume.remote(start)
    # Most encoders carry a pooler that the head here does not read: it gets no gradient.
    learner.trained = ray.train.torch.prepare_model(
        learner.model, parallel_strategy_kwargs={"find_unused_parameters": True}
    )
    saved_at, losses, watch = time.monotonic(), list[float](), Stopwatch()
    for step, batch in learner.batches(start):
        losses.append(learner.step(step, batch))
        watch.ended()
        if (step + 1) % fit.recipe.report_every_steps and step + 1 < fit.steps:
            continue
        loss, losses = _over_workers(float(np.mean(losses)), world, learner.device), []
        if rank == 0:
            config["progress"].update.remote(step + 1, loss)
        if step + 1 == fit.steps:
            break
        due = time.monotonic() - saved_at >= config["checkpoint_every_s"]
        _report(learner, step + 1, loss, save=due and rank == 0)
        saved_at = time.monotonic() if due else saved_at
    _report_end(learner, rank, watch.rate)


def _over_workers(loss: float, world: int, device: torch.device) -> float:
    """The mean of the workers' losses; their shares of a batch are equal."""
    if world == 1:
        return loss
    total = torch.tensor(loss, device=device)
    torch.distributed.all_reduce(total)
    return float(total) / world


def _report(learner: Trainer, step: int, loss: float, *, save: bool) -> None:
    metrics = {"step": step, "steps": learner.fit.steps, "loss": loss}
    if not save:
        ray.train.report(metrics)
        return
    with tempfile.TemporaryDirectory() as folder:
        tensors = {f"model.{name}": tensor for name, tensor in learner.model.state_dict().items()}
        for index, moments in learner.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": tensor for name, tensor in moments.items()}
        save_file({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, Path(folder) / STATE_FILE)
        (Path(folder) / STEP_FILE).write_text(json.dumps({"step": step}))
        ray.train.report(metrics, checkpoint=ray.train.Checkpoint.from_directory(folder))


def _restore(learner: Trainer) -> int:
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is None:
        return 0
    with checkpoint.as_directory() as folder:
        tensors = load_file(Path(folder) / STATE_FILE)
        step = int(json.loads((Path(folder) / STEP_FILE).read_text())["step"])
    learner.model.load_state_dict({n.removeprefix("model."): t for n, t in tensors.items() if n.startswith("model.")})
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimizer."):
            _, index, moment = name.split(".", 2)
            state.setdefault(int(index), {})[moment] = tensor
    if state:
        groups = learner.optimizer.state_dict()["param_groups"]
        learner.optimizer.load_state_dict({"state": state, "param_groups": groups})
    return step


def _report_end(learner: Trainer, rank: int, rate: float) -> None:
    fit = learner.fit
    metrics = {"step": fit.steps, "steps": fit.steps}
    if rank != 0:
        ray.train.report(metrics)
        return
    with tempfile.TemporaryDirectory() as folder:
        learner.finish()
        state = {f"model.{name}": tensor.cpu().contiguous() for name, tensor in learner.model.state_dict().items()}
        save_file(state, Path(folder) / STATE_FILE)
        (Path(folder) / STEP_FILE).write_text(json.dumps({"step": fit.steps, "steps_per_s": rate}))
        predictions = torch.from_numpy(learner.predict(fit.held_out))
        save_file({"probabilities": predictions}, Path(folder) / PREDICTIONS_FILE)
        ray.train.report(metrics, checkpoint=ray.train.Checkpoint.from_directory(folder))
