"""Many small fits, and the reading of many texts, side by side on a Ray cluster: one task or actor a core or GPU."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import ray
import torch
from numpy.typing import NDArray
from ray.exceptions import RayError
from ray.util import ActorPool

from tlnlp.config import RaySettings
from tlnlp.errors import EngineError
from tlnlp.model.combine import Floats
from tlnlp.model.encode import TokenIds
from tlnlp.model.ngram import FEATURES, NgramView, fit_ngram
from tlnlp.model.reference import load_encoder
from tlnlp.progress import meter
from tlnlp.train.fit import Fit, Learner, features, in_bfloat16, read
from tlnlp.train.ray_job import FitResult, uses_gpu

# Texts that a reader is handed at once; of like length, since neighbours are read together.
CHUNK = 256
MAX_CORES_A_TASK = 4


@dataclass(frozen=True)
class Reading:
    """How texts are read: the encoder's shape, and the precision of its products."""

    encoder: str
    pooling: str
    classes: int
    pad_token_id: int
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


def fit_each(fits: Sequence[Fit], settings: RaySettings, what: str) -> list[FitResult]:
    """Run fits side by side, each on a share of the cluster; a task that is lost is started again.

    Raises:
        EngineError: a task was lost too often, or has a fault.
    """
    cores, gpus = _share(settings, len(fits))
    results = _side_by_side(_fit_alone, [(ray.put(fit), cores) for fit in fits], settings, (cores, gpus), what)
    return [
        FitResult({name: torch.tensor(array) for name, array in weights.items()}, held_out, fit.steps, seconds)
        for fit, (weights, held_out, seconds) in zip(fits, results, strict=True)
    ]


def guess_each(lessons: Sequence[Lesson], settings: RaySettings, what: str) -> list[Floats]:
    """Fit n-gram views side by side; what each guesses, (texts, classes). Raises EngineError."""
    return _side_by_side(_guess, [(ray.put(lesson),) for lesson in lessons], settings, (1, 0), what)


def states_of(
    tokens: TokenIds, weights: dict[str, Any] | None, reading: Reading, settings: RaySettings, what: str
) -> Floats:
    """Pooled states (texts, hidden) of an encoder: of these tensors, or as pretrained. Raises EngineError."""
    chunks = [tokens[start : start + CHUNK] for start in range(0, len(tokens), CHUNK)]
    share = _share(settings, len(chunks))
    kept = None if weights is None else ray.put({name: tensor.numpy() for name, tensor in weights.items()})
    jobs = [(ray.put(chunk), kept, reading, share[0]) for chunk in chunks]
    return np.concatenate(_side_by_side(_states, jobs, settings, share, what))


def read_all(
    models: Sequence[dict[str, Any]],
    tokens: TokenIds,
    by: NDArray[np.int64],
    reading: Reading,
    settings: RaySettings,
    what: str,
) -> Floats:
    """Probabilities (texts, classes) of texts as they are; text ``i`` is read by model ``by[i]`` of those given.

    Raises:
        EngineError: a reader was lost too often, or has a fault.
    """
    # By model, so that a reader changes models seldom; then by length, since neighbours are padded alike.
    order = np.lexsort((-tokens.lengths, by))
    chunks = [order[start : start + CHUNK] for start in range(0, len(order), CHUNK)]
    cores, gpus = _share(settings, len(chunks))
    kind: Any = ray.remote(num_cpus=cores, num_gpus=gpus, max_restarts=-1, max_task_retries=settings.max_failures)(
        _Reader
    )
    kept = [ray.put({name: tensor.numpy() for name, tensor in weights.items()}) for weights in models]
    pool = ActorPool([kind.remote(reading, cores) for _ in range(_places(cores, gpus, len(chunks)))])
    probabilities, done = np.zeros((len(tokens), reading.classes)), 0
    try:
        with meter(what, len(tokens)) as shown:
            for chunk, found in pool.map_unordered(
                lambda reader, chunk: reader.read.remote(kept, chunk, by[chunk], tokens.take(chunk)), chunks
            ):
                probabilities[chunk] = found
                done += len(chunk)
                shown.update(done)
    except RayError as error:
        raise EngineError(_lost(what, error)) from error
    return probabilities


def _side_by_side(
    work: Callable[..., Any],
    jobs: Sequence[tuple[Any, ...]],
    settings: RaySettings,
    share: tuple[int, int],
    what: str,
) -> list[Any]:
    remote: Any = ray.remote(num_cpus=share[0], num_gpus=share[1], max_retries=settings.max_failures)(work)
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


def _fit_alone(fit: Fit, cores: int) -> tuple[dict[str, Any], Floats, float]:
    began_s = time.monotonic()
    torch.set_num_threads(cores)
    learner = Learner(fit, _device())
    learner.begin()
    for step, batch in learner.batches(0):
        learner.step(step, batch)
    learner.finish()
    weights = {name: tensor.cpu().numpy() for name, tensor in learner.model.state_dict().items()}
    trained_s = time.monotonic() - began_s
    return weights, learner.predict(fit.held_out), trained_s


def learn(lesson: Lesson) -> NgramView:
    """The n-gram view of a lesson."""
    targets = lesson.targets.tolist()
    return fit_ngram(
        lesson.texts, targets, lesson.classes, lesson.seed, lesson.features, c=lesson.c, weights=lesson.weights
    )


def _guess(lesson: Lesson) -> Floats:
    return learn(lesson).predict(lesson.guessed)


def _states(tokens: TokenIds, weights: dict[str, Any] | None, reading: Reading, cores: int) -> Floats:
    torch.set_num_threads(cores)
    device = _device()
    model = load_encoder(reading.encoder, reading.classes, reading.pooling, dropout=0.0, seed=0)
    if weights is not None:
        model.load_state_dict({name: torch.tensor(array) for name, array in weights.items()})
    bf16 = in_bfloat16(device, reading.precision)
    return features(model.to(device), tokens, reading.pad_token_id, device, bf16)


class _Reader:
    """An actor with one model at a time in memory."""

    def __init__(self, reading: Reading, cores: int) -> None:
        torch.set_num_threads(cores)
        self._reading, self._device = reading, _device()
        self._bf16 = in_bfloat16(self._device, reading.precision)
        model = load_encoder(reading.encoder, reading.classes, reading.pooling, dropout=0.0, seed=0)
        self._model, self._loaded = model.to(self._device), -1

    def read(self, kept: list[Any], chunk: Any, by: NDArray[np.int64], tokens: TokenIds) -> tuple[Any, Floats]:
        found = np.zeros((len(tokens), self._reading.classes))
        for number in np.unique(by):
            self._load(kept, int(number))
            mine = np.flatnonzero(by == number)
            found[mine] = read(self._model, tokens.take(mine), self._reading.pad_token_id, self._device, self._bf16)
        return chunk, found

    def _load(self, kept: list[Any], number: int) -> None:
        if number != self._loaded:
            weights = ray.get(kept[number])
            self._model.load_state_dict({name: torch.tensor(array) for name, array in weights.items()})
            self._loaded = number


def _device() -> torch.device:
    return torch.device("cuda" if ray.get_gpu_ids() else "cpu")


def _share(settings: RaySettings, pieces: int) -> tuple[int, int]:
    """Cores and GPUs of one task, so that the cluster is shared among the pieces of work."""
    has = ray.cluster_resources()  # type: ignore[no-untyped-call]
    cpus = max(1, int(has.get("CPU", 1)))
    if uses_gpu(settings):
        return max(1, min(MAX_CORES_A_TASK, cpus // max(1, int(has["GPU"])))), 1
    return min(MAX_CORES_A_TASK, max(1, cpus // pieces)), 0


def _places(cores: int, gpus: int, pieces: int) -> int:
    has = ray.cluster_resources()  # type: ignore[no-untyped-call]
    places = int(has["GPU"]) if gpus else max(1, int(has.get("CPU", 1)) // cores)
    return max(1, min(places, pieces))


def _lost(what: str, error: Exception) -> str:
    kind = type(getattr(error, "cause", None) or error).__name__
    return f"{what}: a task on the Ray cluster failed ({kind}); run the same command again, or add --debug"
