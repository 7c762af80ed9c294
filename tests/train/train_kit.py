"""A small fine-tuning job for tests, its weights, and ways to kill it."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import kit
import numpy as np
import ray  # noqa: F401  (puts the psutil it carries on the path)
from safetensors.numpy import load_file

THREE = ("calm", "cross", "mixed")


def settings(
    folder: Path, encoder: Path, *more: str, labels: int = 18, steps: int = 50, registry: str = "registry"
) -> list[str]:
    """Write labels of three classes, and return the overrides of a job that trains on them."""
    rows = kit.write_jsonl(folder / f"labels-{labels}.jsonl", kit.labelled(labels, 0, THREE))
    return [
        f"labels={rows}",
        f"registry={folder / registry}",
        "model=moods",
        f"encoder={encoder}",
        "max_length=32",
        "training.batch_size=8",
        f"training.min_steps={steps}",
        f"training.max_steps={steps}",
        "training.report_every_steps=5",
        # The encoder must be tuned in a Ray Train job, even if the pretrained encoder were better.
        "training.moves=always",
        # "auto" measures the throughput of precisions and of engines, so two runs might choose differently.
        "training.precision=fp32",
        "engine=onnx-fp32",
        "teaching.read_precision=training",
        "ray.job_tokens=0",
        "ray.cpus_per_worker=1",
        "ray.checkpoint_every_s=0",
        *more,
    ]


def weights(folder: Path) -> dict[str, Any]:
    """Return the tensors of a bundle's encoder view."""
    return load_file(folder / "model.safetensors") | load_file(folder / "head.safetensors")


def distance(one: dict[str, Any], other: dict[str, Any]) -> float:
    """Return the largest difference between two sets of tensors."""
    assert one.keys() == other.keys()
    return max(float(np.abs(np.asarray(one[name]) - np.asarray(other[name])).max()) for name in one)


def checkpoint_is_there(registry: Path) -> bool:
    """Return whether a run in progress has a checkpoint that a later start can resume."""
    for snapshot in registry.glob("*/training/*/checkpoint_manager_snapshot.json"):
        try:
            if json.loads(snapshot.read_text())["latest_checkpoint_result"]:
                return True
        except (OSError, ValueError, KeyError):
            continue
    return False


def wait_for(condition: Callable[[], bool], timeout_s: float = 240) -> None:
    """Wait until a condition holds; raise TimeoutError after ``timeout_s`` seconds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"the condition did not hold within {timeout_s:.0f} s")
        time.sleep(0.02)


def family(pid: int) -> list[int]:
    """Return the ids of a process and all of its descendants."""
    import psutil

    return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]


def kill(pids: list[int]) -> None:
    """Kill processes; those that have ended already are ignored."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def train_workers() -> list[int]:
    """Return the ids of the Ray Train workers below this process."""
    import psutil

    workers = []
    for child in psutil.Process().children(recursive=True):
        try:
            if "RayTrainWorker" in " ".join(child.cmdline()):
                workers.append(child.pid)
        except psutil.Error:
            continue
    return workers


@contextmanager
def worker_killed_in(registry: Path) -> Iterator[list[int]]:
    """Kill the training worker of the block's run once it has a checkpoint; yield the ids of the killed processes."""
    killed: list[int] = []

    def hunt() -> None:
        wait_for(lambda: checkpoint_is_there(registry))
        killed.extend(train_workers())
        kill(killed)

    thread = threading.Thread(target=hunt, daemon=True)
    thread.start()
    yield killed
    thread.join(timeout=10)


SUBJECTS = ["the night ferry", "our old baker", "a small hotel", "the last train", "my new boots", "this quiet street"]
VERBS = ["was late again", "smelled of warm bread", "had a view of the harbour", "never let us down", "cost too much"]
ENDS = ["on a cold morning", "for no good reason", "as it always does", "before the first snow", "when it rained"]


def sentences(count: int, seed: int) -> list[str]:
    """Return random sentences of ten words or so."""
    generator = np.random.default_rng(seed)
    return [" ".join(str(generator.choice(part)) for part in (SUBJECTS, VERBS, ENDS)) for _ in range(count)]


def shuffled(texts: list[str], seed: int = 0) -> list[str]:
    """Return the texts with their words in random order."""
    generator = np.random.default_rng(seed)
    return [" ".join(generator.permutation(text.split())) for text in texts]


def foreign(folder: Path) -> Path:
    """Write documents in another language."""
    words = ["pluie", "jardin", "lumiere", "fenetre", "chemin", "rivage"]
    generator = np.random.default_rng(0)
    rows = [{"id": str(i), "text": " ".join(generator.choice(words, 9)) + f" {i}"} for i in range(200)]
    return kit.write_jsonl(folder / "pool.jsonl", rows)


def misleading(folder: Path) -> Path:
    """Write documents that differ from a labelled text only in the word that decides its class."""
    marks = ("bad", "good", "cold")
    texts = [row["text"].partition(" ") for row in kit.labelled(300, 0, THREE)]
    others = [f"{mark} {rest}" for first, _, rest in texts for mark in marks if mark != first]
    return kit.write_jsonl(folder / "pool.jsonl", [{"id": str(i), "text": text} for i, text in enumerate(others)])
