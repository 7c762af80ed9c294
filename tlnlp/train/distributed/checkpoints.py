"""Write and read the checkpoints of a fit that runs as a job: its weights and optimizer, and at the end its result."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tlnlp.train.fit.encoder_fit import FitResult
from tlnlp.train.fit.trainer import Trainer

_STATE_FILE = "state.safetensors"
_STEP_FILE = "step.json"
_PREDICTIONS_FILE = "predictions.safetensors"
_MODEL, _OPTIMIZER = "model.", "optimizer."


def save_checkpoint(trainer: Trainer, step: int, folder: Path) -> None:
    """Write the model and the optimizer as they are after ``step`` steps."""
    tensors = _model_tensors(trainer)
    for index, moments in trainer.optimizer.state_dict()["state"].items():
        tensors |= {f"{_OPTIMIZER}{index}.{name}": tensor.cpu().contiguous() for name, tensor in moments.items()}
    save_file(tensors, folder / _STATE_FILE)
    (folder / _STEP_FILE).write_text(json.dumps({"step": step}))


def restore_checkpoint(trainer: Trainer, folder: Path) -> int:
    """Load the model and the optimizer, and return the number of steps done."""
    tensors = load_file(folder / _STATE_FILE)
    trainer.model.load_state_dict(_of_model(tensors))
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith(_OPTIMIZER):
            _, index, moment = name.split(".", 2)
            state.setdefault(int(index), {})[moment] = tensor
    if state:
        groups = trainer.optimizer.state_dict()["param_groups"]
        trainer.optimizer.load_state_dict({"state": state, "param_groups": groups})
    return int(json.loads((folder / _STEP_FILE).read_text())["step"])


def save_result(trainer: Trainer, steps_per_s: float, folder: Path) -> None:
    """Write the finished model and its predictions of the held-out texts."""
    save_file(_model_tensors(trainer), folder / _STATE_FILE)
    (folder / _STEP_FILE).write_text(json.dumps({"step": trainer.fit.steps, "steps_per_s": steps_per_s}))
    predictions = torch.from_numpy(trainer.predict(trainer.fit.held_out))
    save_file({"probabilities": predictions}, folder / _PREDICTIONS_FILE)


def load_result(folder: Path) -> FitResult:
    """Read what ``save_result`` wrote."""
    progress = json.loads((folder / _STEP_FILE).read_text())
    weights = _of_model(load_file(folder / _STATE_FILE))
    held_out = load_file(folder / _PREDICTIONS_FILE)["probabilities"].numpy()
    return FitResult(weights, held_out, int(progress["step"]), rate=float(progress["steps_per_s"]))


def _model_tensors(trainer: Trainer) -> dict[str, Tensor]:
    return {f"{_MODEL}{name}": tensor.cpu().contiguous() for name, tensor in trainer.model.state_dict().items()}


def _of_model(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(_MODEL): tensor for name, tensor in tensors.items() if name.startswith(_MODEL)}
