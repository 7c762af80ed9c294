"""The training loop that every Ray Train worker runs: one fit of the encoder view.

The order of the examples and the randomness of each step are functions of (seed, step) alone, so a run that resumes
from a checkpoint, or runs on another number of workers, goes on with the same batches.
"""

from __future__ import annotations

import json
import math
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import ray
import ray.train
import ray.train.torch
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from tlnlp.config import TrainingSettings
from tlnlp.model.encode import by_length, pad
from tlnlp.model.reference import TextClassifier, load_encoder

STATE_FILE = "state.safetensors"
STEP_FILE = "step.json"
PREDICTIONS_FILE = "predictions.safetensors"


@dataclass(frozen=True)
class Fit:
    """One fit, as the workers get it.

    ``encoded``: token ids a text; ``targets``: class indices; ``held_out``: token ids of texts to predict at the end.
    """

    encoder: str
    pooling: str
    classes: int
    pad_token_id: int
    encoded: Sequence[Sequence[int]]
    targets: Sequence[int]
    held_out: Sequence[Sequence[int]]
    seed: int
    recipe: TrainingSettings

    @property
    def steps(self) -> int:
        wanted = math.ceil(len(self.encoded) * self.recipe.epochs / self.recipe.batch_size)
        return min(max(wanted, self.recipe.min_steps), self.recipe.max_steps)


def batches(examples: int, batch_size: int, seed: int, start: int, stop: int) -> Iterator[NDArray[np.int64]]:
    """Positions of the examples of steps ``start`` to ``stop``: shuffled epochs without end, cut in batches."""
    epoch, drawn = -1, np.zeros(0, dtype=np.int64)
    for step in range(start, stop):
        wanted = np.arange(step * batch_size, (step + 1) * batch_size)
        parts = []
        for number in np.unique(wanted // examples):
            if number != epoch:
                epoch, drawn = int(number), np.random.default_rng((seed, int(number))).permutation(examples)
            parts.append(drawn[wanted[wanted // examples == number] % examples])
        yield np.concatenate(parts)


def learning_rate_scale(step: int, steps: int, warmup_share: float) -> float:
    """Linear warm-up, then linear decay to nothing."""
    warmup = max(1, round(steps * warmup_share))
    return (step + 1) / warmup if step < warmup else max(0.0, (steps - step) / max(1, steps - warmup))


def train_worker(config: dict[str, Any]) -> None:
    """Entry point of a worker; ``config``: ``fit`` (object reference), ``progress`` (actor), ``checkpoint_every_s``."""
    fit: Fit = ray.get(config["fit"])
    context = ray.train.get_context()
    rank, world = context.get_world_rank(), context.get_world_size()
    device = ray.train.torch.get_device()
    model = load_encoder(fit.encoder, fit.classes, fit.pooling, fit.recipe.dropout, fit.seed)
    optimizer = _optimizer(model, fit.recipe)
    start = _restore(model, optimizer)
    if rank == 0 and start:
        config["progress"].resume.remote(start)
    # Most encoders carry a pooler that the head here does not read: it gets no gradient.
    wrapped: nn.Module = ray.train.torch.prepare_model(model, parallel_strategy_kwargs={"find_unused_parameters": True})
    _move_state(optimizer, device)
    saved_at, losses = time.monotonic(), list[float]()
    for step, batch in enumerate(
        batches(len(fit.encoded), fit.recipe.batch_size, fit.seed, start, fit.steps), start=start
    ):
        torch.manual_seed((fit.seed * 1_000_003 + step) * world + rank)
        losses.append(_step(wrapped, optimizer, fit, batch[rank::world], step, device))
        if (step + 1) % fit.recipe.report_every_steps and step + 1 < fit.steps:
            continue
        loss, losses = _over_workers(float(np.mean(losses)), world, device), []
        if rank == 0:
            config["progress"].update.remote(step + 1, loss)
        if step + 1 == fit.steps:
            break
        due = time.monotonic() - saved_at >= config["checkpoint_every_s"]
        _report(model, optimizer, fit, step + 1, loss, save=due and rank == 0)
        saved_at = time.monotonic() if due else saved_at
    _report_end(model, fit, rank, device)


def _optimizer(model: TextClassifier, recipe: TrainingSettings) -> torch.optim.AdamW:
    encoder = [parameter for parameter in model.encoder.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in encoder if p.ndim > 1], "lr": recipe.learning_rate, "weight_decay": recipe.weight_decay},
        {"params": [p for p in encoder if p.ndim <= 1], "lr": recipe.learning_rate, "weight_decay": 0.0},
        {"params": list(model.head.parameters()), "lr": recipe.head_learning_rate, "weight_decay": 0.0},
    ]
    for group in groups:
        group["peak"] = group["lr"]
    return torch.optim.AdamW(groups)


def _step(
    model: nn.Module,
    optimizer: torch.optim.AdamW,
    fit: Fit,
    batch: NDArray[np.int64],
    step: int,
    device: torch.device,
) -> float:
    model.train()
    scale = learning_rate_scale(step, fit.steps, fit.recipe.warmup_share)
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * scale
    input_ids, mask = pad([fit.encoded[position] for position in batch], fit.pad_token_id)
    targets = torch.tensor([fit.targets[position] for position in batch], device=device)
    logits = model(torch.from_numpy(input_ids).to(device), torch.from_numpy(mask).to(device))
    loss: Tensor = functional.cross_entropy(logits, targets, label_smoothing=fit.recipe.label_smoothing)
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return float(loss.detach())


def _over_workers(loss: float, world: int, device: torch.device) -> float:
    """The mean of the workers' losses; their shares of a batch are equal."""
    if world == 1:
        return loss
    total = torch.tensor(loss, device=device)
    torch.distributed.all_reduce(total)
    return float(total) / world


def _report(
    model: TextClassifier, optimizer: torch.optim.AdamW, fit: Fit, step: int, loss: float, *, save: bool
) -> None:
    metrics = {"step": step, "steps": fit.steps, "loss": loss}
    if not save:
        ray.train.report(metrics)
        return
    with tempfile.TemporaryDirectory() as folder:
        tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
        for index, moments in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": tensor for name, tensor in moments.items()}
        save_file({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, Path(folder) / STATE_FILE)
        (Path(folder) / STEP_FILE).write_text(json.dumps({"step": step}))
        ray.train.report(metrics, checkpoint=ray.train.Checkpoint.from_directory(folder))


def _restore(model: TextClassifier, optimizer: torch.optim.AdamW) -> int:
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is None:
        return 0
    with checkpoint.as_directory() as folder:
        tensors = load_file(Path(folder) / STATE_FILE)
        step = int(json.loads((Path(folder) / STEP_FILE).read_text())["step"])
    model.load_state_dict({n.removeprefix("model."): t for n, t in tensors.items() if n.startswith("model.")})
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimizer."):
            _, index, moment = name.split(".", 2)
            state.setdefault(int(index), {})[moment] = tensor
    if state:
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    return step


def _move_state(optimizer: torch.optim.AdamW, device: torch.device) -> None:
    for moments in optimizer.state.values():
        for name, tensor in moments.items():
            if isinstance(tensor, Tensor) and name != "step":
                moments[name] = tensor.to(device)


def _report_end(model: TextClassifier, fit: Fit, rank: int, device: torch.device) -> None:
    metrics = {"step": fit.steps, "steps": fit.steps}
    if rank != 0:
        ray.train.report(metrics)
        return
    with tempfile.TemporaryDirectory() as folder:
        state = {f"model.{name}": tensor.cpu().contiguous() for name, tensor in model.state_dict().items()}
        save_file(state, Path(folder) / STATE_FILE)
        (Path(folder) / STEP_FILE).write_text(json.dumps({"step": fit.steps}))
        save_file({"logits": predict_logits(model, fit, device)}, Path(folder) / PREDICTIONS_FILE)
        ray.train.report(metrics, checkpoint=ray.train.Checkpoint.from_directory(folder))


def predict_logits(model: TextClassifier, fit: Fit, device: torch.device) -> Tensor:
    """Logits (held_out, classes) of the held-out texts, on the CPU."""
    model.eval()
    logits = torch.zeros((len(fit.held_out), fit.classes))
    with torch.inference_mode():
        for positions in by_length(fit.held_out, fit.recipe.batch_size):
            input_ids, mask = pad([fit.held_out[position] for position in positions], fit.pad_token_id)
            output = model(torch.from_numpy(input_ids).to(device), torch.from_numpy(mask).to(device))
            logits[positions] = output.float().cpu()
    return logits
