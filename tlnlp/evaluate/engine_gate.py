"""Decide which engine scores with a version: the fastest one whose decisions are the reference's, as measured here."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.stats import beta

from tlnlp.config import EngineGateSettings
from tlnlp.evaluate.intervals import CONFIDENCE
from tlnlp.model.combine import Floats
from tlnlp.model.engines.engine import Engine
from tlnlp.model.tokenize import Ids

# Texts that one engine reads before the next one reads them: what slows the machine down then slows both.
TEXTS_AT_ONCE = 16
# A faster engine must be faster by this factor: less could be chance, and the reference is exact.
LEAST_GAIN = 1.2


@dataclass(frozen=True)
class EngineTrial:
    """Hold what was measured of an engine.

    Fields:
        engine: its name.
        texts: number of texts read.
        documents_per_s: throughput on this machine, without tokenisation.
        changed: number of texts whose label is another one than the reference's.
        changed_share_bound: upper limit of their share with 95% confidence (Clopper and Pearson 1934).
        mean_difference, largest_difference: of the largest difference of a text's probabilities.
        refused: why the engine does not score; None if it may.
    """

    engine: str
    texts: int
    documents_per_s: float
    changed: int = 0
    changed_share_bound: float = 0.0
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


def choose_engine(
    engines: Mapping[str, Engine],
    encoded: Sequence[Ids],
    decide: Callable[[Floats, slice], Floats],
    limits: EngineGateSettings,
    most_s: float,
) -> tuple[str, list[EngineTrial]]:
    """Return the name of the fastest engine within the limits, and what was measured of each.

    Args:
        engines: the engines by name, the reference first.
        encoded: token ids of texts, in random order; as many are read as ``most_s`` allows.
        decide: returns the final probabilities of some of the texts (a slice) from those of the encoder.
        limits: what an engine may change.
        most_s: seconds to read for, about.
    """
    names = list(engines)
    seconds, found = dict.fromkeys(names, 0.0), {name: list[Floats]() for name in names}
    for name in names:
        engines[name].predict(encoded[:1])
    read, started = 0, time.monotonic()
    while read < len(encoded) and (not read or time.monotonic() - started < most_s):
        part = slice(read, read + TEXTS_AT_ONCE)
        for name in names:
            begun = time.monotonic()
            probabilities = engines[name].predict(encoded[part])
            seconds[name] += time.monotonic() - begun
            found[name].append(decide(probabilities, part))
        read += len(encoded[part])
    rates = {name: read / max(seconds[name], 1e-9) for name in names}
    reference = np.vstack(found[names[0]])
    trials = [EngineTrial(names[0], read, rates[names[0]])]
    for name in names[1:]:
        trials.append(_trial(name, rates[name], np.vstack(found[name]), reference, limits))
    allowed = [one for one in trials[1:] if one.refused is None and one.documents_per_s > LEAST_GAIN * rates[names[0]]]
    best = max(allowed, key=lambda one: one.documents_per_s, default=trials[0])
    return best.engine, trials


def _trial(name: str, rate: float, found: Floats, reference: Floats, limits: EngineGateSettings) -> EngineTrial:
    differences = np.abs(found - reference).max(axis=1)
    changed, read = int((found.argmax(axis=1) != reference.argmax(axis=1)).sum()), len(found)
    mean, refused = float(differences.mean()), None
    if changed > limits.changed_share * read:
        refused = f"it changes the label of {changed} of {read} texts (at most {limits.changed_share:.1%} is allowed)"
    elif not mean <= limits.mean_difference:
        refused = f"it moves probabilities by {mean:.4f} on average (at most {limits.mean_difference:g} is allowed)"
    bound = upper_limit(changed, read)
    return EngineTrial(name, read, rate, changed, bound, mean, float(differences.max()), refused)
