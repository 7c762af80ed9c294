"""The code of a worker of a Ray Train job: it runs one fit, reports progress and writes checkpoints."""

from __future__ import annotations

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

from tlnlp.train.distributed.checkpoints import restore_checkpoint, save_checkpoint, save_result
from tlnlp.train.distributed.shipped_encoder import with_local_encoder
from tlnlp.train.fit.encoder_fit import EncoderFit
from tlnlp.train.fit.stopwatch import Stopwatch
from tlnlp.train.fit.trainer import Trainer


def train_worker(config: dict[str, Any]) -> None:
    """Run one worker from the first step, or from the last checkpoint, to the last step.

    Args:
        config: ``fit`` (object reference to an EncoderFit), ``encoder`` (what ``ship`` returned), ``progress`` (the
            Progress actor) and ``checkpoint_every_s`` (seconds between checkpoints).
    """
    fit: EncoderFit = ray.get(config["fit"])
    fit = replace(fit, encoder=with_local_encoder(fit.encoder, config["encoder"]))
    context = ray.train.get_context()
    rank, world = context.get_world_rank(), context.get_world_size()
    trainer = Trainer(fit, ray.train.torch.get_device(), (rank, world))
    start = _restore(trainer)
    if start == 0:
        trainer.begin()
    elif rank == 0:
        config["progress"].resume.remote(start)
    # Most encoders have a pooler that our head does not use, so its parameters get no gradient.
    trainer.parallel_model = ray.train.torch.prepare_model(
        trainer.model, parallel_strategy_kwargs={"find_unused_parameters": True}
    )
    saved_at, losses, watch = time.monotonic(), list[float](), Stopwatch()
    for step, batch in trainer.batches(start):
        losses.append(trainer.step(step, batch))
        watch.record_step()
        if (step + 1) % fit.recipe.report_every_steps and step + 1 < fit.steps:
            continue
        loss, losses = _mean_over_workers(float(np.mean(losses)), world, trainer.device), []
        if rank == 0:
            config["progress"].update.remote(step + 1, loss)
        if step + 1 == fit.steps:
            break
        due = time.monotonic() - saved_at >= config["checkpoint_every_s"]
        _report(trainer, step + 1, loss, save=due and rank == 0)
        saved_at = time.monotonic() if due else saved_at
    _report_result(trainer, rank, watch.steps_per_s)


def _mean_over_workers(loss: float, world: int, device: torch.device) -> float:
    """Return the mean of the workers' losses. It is the loss of the batch, since all shares have the same size."""
    if world == 1:
        return loss
    total = torch.tensor(loss, device=device)
    torch.distributed.all_reduce(total)
    return float(total) / world


def _report(trainer: Trainer, step: int, loss: float, *, save: bool) -> None:
    """Report the progress to Ray Train; with ``save``, add a checkpoint of the model and the optimizer."""
    metrics = {"step": step, "steps": trainer.fit.steps, "loss": loss}
    if not save:
        ray.train.report(metrics)
        return
    with tempfile.TemporaryDirectory() as folder:
        save_checkpoint(trainer, step, Path(folder))
        ray.train.report(metrics, checkpoint=ray.train.Checkpoint.from_directory(folder))


def _restore(trainer: Trainer) -> int:
    """Load the last checkpoint, and return the number of steps done; 0 where there is no checkpoint."""
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is None:
        return 0
    with checkpoint.as_directory() as folder:
        return restore_checkpoint(trainer, Path(folder))


def _report_result(trainer: Trainer, rank: int, steps_per_s: float) -> None:
    """Report the end of the fit; the first worker adds the fitted model and its predictions as a checkpoint."""
    fit = trainer.fit
    metrics = {"step": fit.steps, "steps": fit.steps}
    if rank != 0:
        ray.train.report(metrics)
        return
    with tempfile.TemporaryDirectory() as folder:
        trainer.finish()
        save_result(trainer, steps_per_s, Path(folder))
        ray.train.report(metrics, checkpoint=ray.train.Checkpoint.from_directory(folder))
