"""Many small fits, and the reading of many texts, side by side on a Ray cluster: one task a core or GPU.

Tasks, not actors: Ray hands them to processes that have imported all they need, which takes longer than many a task.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import ray
import torch
from numpy.typing import NDArray
from ray.exceptions import RayError

from tlnlp.config import RaySettings
from tlnlp.errors import EngineError
from tlnlp.model.combine import Floats
from tlnlp.model.conventions import EncoderSource
from tlnlp.model.encode import TokenIds
from tlnlp.model.ngram import FEATURES, NgramView, fit_ngram
from tlnlp.model.reference import load_encoder
from tlnlp.progress import meter
from tlnlp.train.fit import Fit, Learner, features
from tlnlp.train.pace import Stopwatch
from tlnlp.train.precision import in_bfloat16
from tlnlp.train.ray_job import FitResult, places, uses_gpu
from tlnlp.train.shipped import ShippedEncoder, laid, lay, ship

# Texts that a task reads; of like length, since neighbours are padded alike.
CHUNK = 512
MAX_CORES_A_TASK = 4


@dataclass(frozen=True)
class Reading:
    """How texts are read: the encoder, its classes, and the precision of its products."""

    encoder: EncoderSource
    classes: int
    precision: str


@dataclass(frozen=True)
class Lesson:
    """One fit of the n-gram view: prepared texts, class indices and weights to learn from, and texts to guess."""

    texts: Sequence[str]
    targets: NDArray[np.int64]
    weights: NDArray[np.float64]
    guessed: Sequence[str]
    classes: int
    seed: int
    c: float
    features: int = FEATURES


def warm_up(settings: RaySettings) -> None:
    """Have a process of the cluster for each core import what tasks need, side by side and before it is asked for."""
    remote: Any = ray.remote(num_cpus=1, max_calls=0)(_import)
    for _ in range(min(places(settings), MAX_CORES_A_TASK)):
        remote.remote()


def _import() -> None:
    """Nothing: that it can run means that this module has been imported."""


def fit_each(fits: Sequence[Fit], settings: RaySettings, what: str) -> list[FitResult]:
    """Run fits side by side, each on a share of the cluster; a task that is lost is started again.

    Raises:
        EngineError: a task was lost too often, or has a fault.
    """
    cores, gpus = _share(settings, len(fits))
    jobs = [(ray.put(fit), ship(fit.encoder.name), cores) for fit in fits]
    results = _side_by_side(_fit_alone, jobs, settings, (cores, gpus), what)
    return [
        FitResult({name: torch.tensor(array) for name, array in weights.items()}, held_out, fit.steps, seconds, rate)
        for fit, (weights, held_out, seconds, rate) in zip(fits, results, strict=True)
    ]


def guess_each(lessons: Sequence[Lesson], settings: RaySettings, what: str) -> list[Floats]:
    """Fit n-gram views side by side; what each guesses, (texts, classes). Raises EngineError."""
    return _side_by_side(_guess, [(ray.put(lesson),) for lesson in lessons], settings, (1, 0), what)


def states_of(
    tokens: TokenIds, weights: dict[str, Any] | None, reading: Reading, settings: RaySettings, what: str
) -> tuple[Floats, float]:
    """Pooled states (texts, hidden) of an encoder: of these tensors, or as pretrained; and how many tokens a second
    the cluster read, starts of processes left out.

    Raises:
        EngineError: a reader was lost too often, or has a fault.
    """
    order = np.argsort(-tokens.lengths, kind="stable")
    chunks = [order[start : start + CHUNK] for start in range(0, len(order), CHUNK)]
    share = _share(settings, len(chunks))
    kept = None if weights is None else ray.put({name: tensor.numpy() for name, tensor in weights.items()})
    encoder = ship(reading.encoder.name)
    jobs = [(kept, ray.put(tokens.take(chunk)), reading, encoder, share[0]) for chunk in chunks]
    parts = _side_by_side(_states, jobs, settings, share, what)
    states = np.concatenate([part for part, _ in parts])
    found = np.empty_like(states)
    found[order] = states
    at_once = min(len(chunks), max(1, places(settings) // max(1, share[1] or share[0])))
    seconds = sum(seconds for _, seconds in parts) / at_once
    return found, float(tokens.lengths.sum()) / max(seconds, 1e-3)


def _side_by_side(
    work: Callable[..., Any],
    jobs: Sequence[tuple[Any, ...]],
    settings: RaySettings,
    share: tuple[int, int],
    what: str,
) -> list[Any]:
    # Else Ray ends a process after each task on a GPU, and the next imports all it needs again.
    options = {"num_cpus": share[0], "num_gpus": share[1], "max_retries": settings.max_failures, "max_calls": 0}
    remote: Any = ray.remote(**options)(work)  # type: ignore[call-overload]
    tasks = [remote.remote(*job) for job in jobs]
    waiting = list(tasks)
    try:
        with meter(what, len(tasks)) as shown:
            while waiting:
                _, waiting = ray.wait(waiting, timeout=1.0)
                shown.update(len(tasks) - len(waiting))
        return list(ray.get(tasks))
    except RayError as error:
        raise EngineError(_lost(what, error)) from error


def _fit_alone(fit: Fit, encoder: ShippedEncoder | str, cores: int) -> tuple[dict[str, Any], Floats, float, float]:
    began_s = time.monotonic()
    torch.set_num_threads(cores)
    learner = Learner(replace(fit, encoder=laid(fit.encoder, encoder)), _device())
    learner.begin()
    watch = Stopwatch()
    for step, batch in learner.batches(0):
        learner.step(step, batch)
        watch.ended()
    learner.finish()
    weights = {name: tensor.cpu().numpy() for name, tensor in learner.model.state_dict().items()}
    trained_s = time.monotonic() - began_s
    held_out = learner.predict(fit.held_out)
    del learner
    _hand_back(_device())
    return weights, held_out, trained_s, watch.rate


def learn(lesson: Lesson) -> NgramView:
    """The n-gram view of a lesson."""
    targets = lesson.targets.tolist()
    return fit_ngram(
        lesson.texts, targets, lesson.classes, lesson.seed, lesson.features, c=lesson.c, weights=lesson.weights
    )


def _guess(lesson: Lesson) -> Floats:
    return learn(lesson).predict(lesson.guessed)


def _states(
    weights: dict[str, Any] | None, tokens: TokenIds, reading: Reading, encoder: ShippedEncoder | str, cores: int
) -> tuple[Floats, float]:
    """Pooled states of the texts, and the seconds that reading them took."""
    torch.set_num_threads(cores)
    device = _device()
    how = reading.encoder.conventions
    model = load_encoder(lay(encoder), reading.classes, how.pooling, 0.0, seed=0, normalise=how.normalise)
    if weights is not None:
        model.load_state_dict({name: torch.tensor(array) for name, array in weights.items()})
    bf16 = in_bfloat16(device, reading.precision)
    model = model.to(device)
    began_s = time.monotonic()
    found = features(model, tokens, reading.encoder.pad_token_id, device, bf16)
    seconds = time.monotonic() - began_s
    del model
    _hand_back(device)
    return found, seconds


def _hand_back(device: torch.device) -> None:
    """Memory of a GPU that this process, waiting for its next task, would keep from others."""
    if device.type == "cuda":
        torch.cuda.empty_cache()


def _device() -> torch.device:
    return torch.device("cuda" if ray.get_gpu_ids() else "cpu")


def _share(settings: RaySettings, pieces: int) -> tuple[int, int]:
    """Cores and GPUs of one task, so that the cluster is shared among the pieces of work; any node can run it."""
    has = ray.cluster_resources()  # type: ignore[no-untyped-call]
    cpus = max(1, int(has.get("CPU", 1)))
    of_nodes = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    most = min((cores for cores in of_nodes if cores), default=1)
    if uses_gpu(settings):
        return min(most, MAX_CORES_A_TASK, max(1, cpus // max(1, int(has["GPU"])))), 1
    return min(most, MAX_CORES_A_TASK, max(1, cpus // pieces)), 0


def _lost(what: str, error: Exception) -> str:
    kind = type(getattr(error, "cause", None) or error).__name__
    return f"{what}: a task on the Ray cluster failed ({kind}); run the same command again, or add --debug"
