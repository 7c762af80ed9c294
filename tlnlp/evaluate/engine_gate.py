"""Decide which engine scores with a version: the fastest one whose decisions are the reference's, as measured here."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from tlnlp.config import EngineGateSettings
from tlnlp.evaluate.intervals import CONFIDENCE
from tlnlp.model.combine import Floats
from tlnlp.model.engines.engine import Engine
from tlnlp.model.tokenize import Ids

Rows = NDArray[np.intp]
Decide = Callable[[Floats, Rows], Floats]

# Texts that one engine reads before the next one reads them: what slows the machine down then slows both.
TEXTS_AT_ONCE = 16
# Texts that all engines read: a multiple of these. Among the later ones, a text is doubtful if its best two classes
# differ by no more than so many times the largest change of a probability so far.
READ_BY_ALL, REACH = 64, 4.0
# A faster engine must be faster by this factor: less could be chance, and the reference is exact.
LEAST_GAIN = 1.2


@dataclass(frozen=True)
class EngineTrial:
    """Hold what was measured of an engine.

    Fields:
        engine: its name.
        texts: number of texts whose labels are compared.
        documents_per_s: throughput on this machine, without tokenisation.
        changed: number of texts whose label is another one than the reference's.
        changed_share_bound: upper limit of their share with 95% confidence (Clopper and Pearson 1934).
        expected_loss: share of the texts that are expected to be wrong by this and were right, by the reference's
            probabilities of both labels. A changed label costs little where both were nearly as probable.
        mean_difference, largest_difference: of the largest difference of a text's probabilities.
        refused: why the engine does not score; None if it may.
    """

    engine: str
    texts: int
    documents_per_s: float
    changed: int = 0
    changed_share_bound: float = 0.0
    expected_loss: float = 0.0
    mean_difference: float = 0.0
    largest_difference: float = 0.0
    refused: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the fields by name, with a rounded throughput."""
        return asdict(self) | {"documents_per_s": round(self.documents_per_s, 1)}


def upper_limit(hits: int, n: int) -> float:
    """Return the exact upper limit of a share with 95% confidence, one-sided; 1 where ``n`` is 0.

    Source: Clopper and Pearson 1934.
    """
    return 1.0 if hits >= n else float(beta.ppf(CONFIDENCE, hits + 1, n - hits))


class _Reader:
    """Read texts with engines, and keep the seconds that each of them takes."""

    def __init__(self, engines: Mapping[str, Engine], encoded: Sequence[Ids], decide: Decide, most_s: float) -> None:
        self.engines, self.encoded, self.decide = engines, encoded, decide
        for engine in engines.values():
            engine.predict(encoded[:1])
        self.seconds, self.until = dict.fromkeys(engines, 0.0), time.monotonic() + most_s

    def read(self, name: str, rows: Rows) -> Floats:
        """Return the final probabilities of texts, by their numbers, with this engine."""
        begun = time.monotonic()
        probabilities = self.engines[name].predict([self.encoded[row] for row in rows])
        self.seconds[name] += time.monotonic() - begun
        return self.decide(probabilities, rows)

    @property
    def has_time(self) -> bool:
        """Return whether the time has not passed yet."""
        return time.monotonic() < self.until


def choose_engine(
    engines: Mapping[str, Engine],
    encoded: Sequence[Ids],
    decide: Decide,
    limits: EngineGateSettings,
    most_s: float,
) -> tuple[str, list[EngineTrial]]:
    """Return the name of the fastest engine within the limits, and what was measured of each.

    All engines read the first texts. Of the later ones, the reference reads those alone that a faster engine is
    doubtful of: to change the label of another text, that engine would have to move its probability several times as
    far as it moved any before. So many more texts are judged in the same time.

    Args:
        engines: the engines by name, the reference first.
        encoded: token ids of texts, in random order; as many are read as ``most_s`` allows.
        decide: returns the final probabilities of some of the texts, by their numbers, from those of the encoder.
        limits: what an engine may change.
        most_s: seconds to read for, about.
    """
    reader = _Reader(engines, encoded, decide, most_s)
    reference, *others = engines
    parts = np.split(np.arange(len(encoded)), range(TEXTS_AT_ONCE, len(encoded), TEXTS_AT_ONCE))
    found: dict[str, list[Floats]] = {name: [] for name in engines}
    for part in parts[: READ_BY_ALL // TEXTS_AT_ONCE]:
        for name in engines:
            found[name].append(reader.read(name, part))
        if not reader.has_time:
            break
    first = {name: np.vstack(found[name]) for name in engines}
    read = len(first[reference])
    rates = {name: read / max(reader.seconds[name], 1e-9) for name in engines}
    differences = {name: np.abs(first[name] - first[reference]).max(axis=1) for name in others}
    losses = {name: _losses(first[name], first[reference]) for name in others}
    reach = {name: REACH * float(differences[name].max()) for name in others}
    for part in parts[READ_BY_ALL // TEXTS_AT_ONCE :] if others else []:
        if not reader.has_time:
            break
        own = {name: reader.read(name, part) for name in others}
        doubtful = np.any([_margin(own[name]) <= reach[name] for name in others], axis=0)
        judged = reader.read(reference, part[doubtful]) if doubtful.any() else first[reference][:0]
        for name in others:
            losses[name] += _losses(own[name][doubtful], judged)
        read += len(part)
    trials = [EngineTrial(reference, read, rates[reference])]
    trials += [_trial(name, rates[name], differences[name], losses[name], read, limits) for name in others]
    allowed = [one for one in trials[1:] if one.refused is None and one.documents_per_s > LEAST_GAIN * rates[reference]]
    best = max(allowed, key=lambda one: one.documents_per_s, default=trials[0])
    return best.engine, trials


def _losses(found: Floats, reference: Floats) -> list[float]:
    """Return, for each text whose label differs, how much less probable the new one is, by the reference."""
    rows, new, old = np.arange(len(found)), found.argmax(axis=1), reference.argmax(axis=1)
    lost: list[float] = (reference[rows, old] - reference[rows, new])[new != old].tolist()
    return lost


def _margin(probabilities: Floats) -> Floats:
    """Return by how much the best class of each text (rows) is more probable than the next one."""
    best = np.sort(probabilities, axis=1)
    return np.asarray(best[:, -1] - best[:, -2])


def _trial(
    name: str, rate: float, differences: Floats, losses: Sequence[float], read: int, limits: EngineGateSettings
) -> EngineTrial:
    changed, loss, mean, refused = len(losses), sum(losses) / read, float(differences.mean()), None
    if changed > limits.changed_share * read:
        refused = f"it changes the label of {changed} of {read} texts (at most {limits.changed_share:.1%} is allowed)"
    elif not loss <= limits.expected_loss:
        refused = (
            f"it is expected to decide {loss:.2%} more texts wrongly (at most {limits.expected_loss:.1%} is allowed)"
        )
    elif not mean <= limits.mean_difference:
        refused = f"it moves probabilities by {mean:.4f} on average (at most {limits.mean_difference:g} is allowed)"
    bound = upper_limit(changed, read)
    return EngineTrial(name, read, rate, changed, bound, loss, mean, float(differences.max()), refused)
