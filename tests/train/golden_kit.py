"""Losses, heads, combinations and scores of tiny runs: a change that claims to change no training reproduces them.

Each run trains in this process, on one thread, in fp32. The steps and documents do not depend on the clock.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import kit
import numpy as np
import pytest
import torch
import transformers
from numpy.typing import NDArray
from safetensors.numpy import load_file
from train_kit import settings, weights

from tlnlp.config import FinetuneSettings, load_settings
from tlnlp.model import bundle
from tlnlp.model.classifier import Classifier
from tlnlp.storage.uri import local_path
from tlnlp.train import local_executor
from tlnlp.train.co_training import CoTraining
from tlnlp.train.finetune import finetune
from tlnlp.train.fit.trainer import Trainer
from tlnlp.train.local_executor import LocalExecutor
from tlnlp.train.time_budget import Plan, TimeBudget

GOLDEN = Path(__file__).parent / "golden" / "runs.json"
STEPS, LABELS, DOCUMENTS, WINDOWS = 6, 18, 60, 48
# What differs between the runs; two further settings are those of co-training alone.
RUNS = {
    "contrast": ["training.objective=contrast"],
    "classify": ["training.objective=classify", "training.dropout=0.1", "pooling=cls"],
    "co_training": ["training.objective=contrast", "teaching.batch_size=8", "teaching.crop_tokens=16"],
}


@contextmanager
def _steady() -> Iterator[list[list[float]]]:
    """Take one thread, and rounds of a fixed size; yield the losses of each step, a list for each fit."""
    losses: list[list[float]] = []
    step = Trainer.step

    def recorded(trainer: Trainer, number: int, batch: NDArray[np.int64]) -> float:
        if number == 0:
            losses.append([])
        losses[-1].append(step(trainer, number, batch))
        return losses[-1][-1]

    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "step", recorded)
        patch.setattr(local_executor, "cores", lambda: 1)
        patch.setattr(TimeBudget, "plan", lambda *_: Plan(1, DOCUMENTS))
        patch.setattr(CoTraining, "_tolerance", lambda *_: 1.0)  # Documents are used, whether they help or not.
        patch.setattr(TimeBudget, "crops", lambda *_: WINDOWS)
        yield losses
    torch.set_num_threads(threads)


def measure(name: str, encoder: Path, folder: Path) -> dict[str, Any]:
    """Run one of ``RUNS`` in a folder; return its figures, which hold no text."""
    given = settings(folder, encoder, *RUNS[name], "seed=2", labels=LABELS, steps=STEPS)
    if name == "co_training":
        rows = [{"text": row["text"]} for row in kit.labelled(2 * DOCUMENTS, 5, ("calm", "cross", "mixed"))]
        given += [f"unlabelled={kit.write_jsonl(folder / 'documents.jsonl', rows)}", "time_budget_s=6000"]
    with _steady() as losses:
        result = finetune(load_settings(FinetuneSettings, None, given), LocalExecutor())
        path = local_path(result.version.uri)
        assert path is not None
        classifier = Classifier.load(path, threads=1)
        scores = classifier.predict(kit.texts(4, 50))
    before, after = load_file(encoder / bundle.ENCODER), weights(path)
    moved = [np.abs(after[key] - before[key]).mean() for key in sorted(before)]
    assert result.held_out is not None
    return {
        "steps": result.steps,
        "losses": _rounded(losses),
        "head_bias": _rounded(after["bias"].tolist()),
        "mean_change_of_the_encoder": _rounded(float(np.mean(moved))),
        "combination": _rounded([classifier.spec.encoder_weight, classifier.spec.ngram_weight]),
        "held_out": _rounded([result.held_out.accuracy, result.held_out.macro_f1, result.held_out.ece]),
        "scores": _rounded(scores.tolist()),
    }


def libraries() -> dict[str, str]:
    """Return the versions of the libraries that draw the random weights and compute the steps."""
    return {"torch": torch.__version__, "transformers": transformers.__version__}


def _rounded(values: Any) -> Any:
    """Return numbers, or lists of them, with eight significant digits."""
    return [_rounded(value) for value in values] if isinstance(values, list) else float(f"{values:.8g}")


def rewrite(name: str, figures: dict[str, Any]) -> None:
    """Record the figures of a run anew."""
    recorded = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {"runs": {}}
    recorded = {"libraries": libraries(), "runs": dict(sorted((recorded["runs"] | {name: figures}).items()))}
    GOLDEN.parent.mkdir(exist_ok=True)
    GOLDEN.write_text(json.dumps(recorded, indent=1) + "\n")
