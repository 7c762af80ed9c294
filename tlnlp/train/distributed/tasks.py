"""Many small fits, and the reading of many texts, side by side on a Ray cluster; the smallest of them in this process.

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
from tlnlp.model.encoder_conventions import EncoderSource
from tlnlp.model.ngram import FEATURES, NgramView, fit_ngram
from tlnlp.model.tokenize import TokenIds
from tlnlp.model.torch_encoder import load_encoder
from tlnlp.runs.progress import meter
from tlnlp.train.distributed import in_process
from tlnlp.train.distributed.ray_trainer import FitResult, places, start, uses_gpu
from tlnlp.train.distributed.shipped_encoder import ShippedEncoder, laid, lay, ship
from tlnlp.train.fit.precision import in_bfloat16
from tlnlp.train.fit.trainer import Fit, Learner, features
from tlnlp.train.time_budget import Stopwatch

# Texts that a task reads; of like length, since neighbours are padded alike.
CHUNK = 128
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
    """Have a process of the cluster, if one runs, for each core import what tasks need before that is asked for."""
    if not ray.is_initialized():
        return
    remote: Any = ray.remote(num_cpus=1, max_calls=0)(_import)
    for _ in range(min(places(settings), MAX_CORES_A_TASK)):
        remote.remote()


def _import() -> None:
    """Nothing: that it can run means that this module has been imported."""


def fit_each(fits: Sequence[Fit], settings: RaySettings, what: str) -> list[FitResult]:
    """Run fits side by side, each on a share of the cluster, or in this process; a task that is lost is started again.

    Raises:
        EngineError: a task was lost too often, or has a fault.
    """
    if in_process.suffices(settings, sum(fit.learned_tokens for fit in fits)):
        cores = in_process.cores()
        alone = [(fit, fit.encoder.name, cores) for fit in fits]
        return _fitted(fits, in_process.one_by_one(_fit_alone, alone, what))
    start(settings)
    shares = _shares(settings, len(fits))
    jobs = [(ray.put(fit), ship(fit.encoder.name), cores) for fit, (cores, _) in zip(fits, shares, strict=True)]
    return _fitted(fits, _side_by_side(_fit_alone, jobs, settings, shares, what))


def _fitted(fits: Sequence[Fit], results: Sequence[tuple[dict[str, Any], Floats, float, float]]) -> list[FitResult]:
    return [
        FitResult({name: torch.tensor(array) for name, array in weights.items()}, held_out, fit.steps, seconds, rate)
        for fit, (weights, held_out, seconds, rate) in zip(fits, results, strict=True)
    ]


def guess_each(lessons: Sequence[Lesson], settings: RaySettings, what: str) -> list[Floats]:
    """Fit n-gram views side by side; what each guesses, (texts, classes). Raises EngineError."""
    if in_process.suffices(settings, 0.0):
        return in_process.one_by_one(_guess, [(lesson,) for lesson in lessons], what)
    start(settings)
    jobs = [(ray.put(lesson),) for lesson in lessons]
    return _side_by_side(_guess, jobs, settings, [(1, 0)] * len(jobs), what)


def states_of(
    tokens: TokenIds, weights: dict[str, Any] | None, reading: Reading, settings: RaySettings, what: str
) -> tuple[Floats, float]:
    """Pooled states (texts, hidden) of an encoder: of these tensors, or as pretrained; and how many tokens a second
    the cluster, or this process, read, starts of processes left out.

    Raises:
        EngineError: a reader was lost too often, or has a fault.
    """
    total = float(tokens.lengths.sum())
    if in_process.suffices(settings, total):
        job = (weights, tokens, reading, reading.encoder.name, in_process.cores())
        ((states, seconds),) = in_process.one_by_one(_states, [job], what)
        return states, total / max(seconds, 1e-3)
    start(settings)
    order = np.argsort(-tokens.lengths, kind="stable")
    chunks = [order[start : start + CHUNK] for start in range(0, len(order), CHUNK)]
    shares = _shares(settings, len(chunks))
    kept = None if weights is None else ray.put({name: tensor.numpy() for name, tensor in weights.items()})
    encoder = ship(reading.encoder.name)
    jobs = [
        (kept, ray.put(tokens.take(chunk)), reading, encoder, cores)
        for chunk, (cores, _) in zip(chunks, shares, strict=True)
    ]
    parts = _side_by_side(_states, jobs, settings, shares, what)
    states = np.concatenate([part for part, _ in parts])
    found = np.empty_like(states)
    found[order] = states
    # Core or GPU seconds of all tasks, over all that the cluster has.
    used = sum(seconds * (gpus or cores) for (_, seconds), (cores, gpus) in zip(parts, shares, strict=True))
    seconds = used / places(settings)
    return found, total / max(seconds, 1e-3)


def _side_by_side(
    work: Callable[..., Any],
    jobs: Sequence[tuple[Any, ...]],
    settings: RaySettings,
    shares: Sequence[tuple[int, int]],
    what: str,
) -> list[Any]:
    # Else (max_calls) Ray ends a process after each task on a GPU, and the next imports all it needs again.
    remote: Any = ray.remote(max_retries=settings.max_failures, max_calls=0)(work)
    tasks = [
        remote.options(num_cpus=cores, num_gpus=gpus).remote(*job)
        for job, (cores, gpus) in zip(jobs, shares, strict=True)
    ]
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
        model.load_state_dict({name: torch.as_tensor(array) for name, array in weights.items()})
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
    return torch.device("cuda" if ray.is_initialized() and ray.get_gpu_ids() else "cpu")


def _shares(settings: RaySettings, pieces: int) -> list[tuple[int, int]]:
    """Cores and GPUs of each piece of work, so that the cluster is shared among them; any node can run each.

    Of more pieces than places, those that are left for the last turn share the cores among them.
    """
    has = ray.cluster_resources()  # type: ignore[no-untyped-call]
    cpus = max(1, int(has.get("CPU", 1)))
    of_nodes = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    most = min(min((cores for cores in of_nodes if cores), default=1), MAX_CORES_A_TASK)
    if uses_gpu(settings):
        return [(min(most, max(1, cpus // max(1, int(has["GPU"])))), 1)] * pieces
    last = pieces % cpus
    return [(1, 0)] * (pieces - last) + [(min(most, cpus // last), 0)] * last if last else [(1, 0)] * pieces


def _lost(what: str, error: Exception) -> str:
    kind = type(getattr(error, "cause", None) or error).__name__
    return f"{what}: a task on the Ray cluster failed ({kind}); run the same command again, or add --debug"
