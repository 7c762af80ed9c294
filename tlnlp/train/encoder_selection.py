"""``encoder: auto``: which of the encoders at hand teaches, decided on the user's own labels.

Each reads the labels as it was pretrained, and a linear head on its states is cross-validated: seconds each, and enough
to tell encoders apart, since an encoder that knows the classes before it learns also learns them best.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlnlp.config import FinetuneSettings
from tlnlp.evaluate.findings import paired_interval, wilson
from tlnlp.model.encoder_catalogue import KnownEncoder, at_hand, known
from tlnlp.runs.progress import say
from tlnlp.train.context import Run
from tlnlp.train.cross_validation import cross_validate_pretrained
from tlnlp.train.frozen_encoder import accuracy_by_names, embed_labels

AUTO = "auto"
# The most accurate encoder that this project has measured, for the line that a user without it is told.
STRONGEST = "e5-small-v2"
GAINED = "on this project's benchmark it is right about 4 to 20 more texts in a hundred from the same labels"
# A smaller encoder costs less every night: it is taken where the labels show that it loses less than this.
WORTH_A_LARGER = 0.01
# The share of letters that are not Latin, from which on an encoder that knows English alone is left out.
OTHER_SCRIPT = 0.5
LOOKED_AT = 1000


@dataclass(frozen=True)
class EncoderTrial:
    """One encoder on the labels: ``accuracy`` of the cross-validated head on its frozen states, with its 95 % interval;
    ``by_names``: how often a label is nearest to the name of its class; None where they could not be measured."""

    encoder: str
    parameters: int | None
    accuracy: float | None
    interval: tuple[float, float] | None
    by_names: float | None
    tokens_per_s: float
    n: int

    def to_json(self) -> dict[str, Any]:
        return {key: round(value, 4) if isinstance(value, float) else value for key, value in asdict(self).items()}


def candidates(settings: FinetuneSettings, texts: Sequence[str]) -> list[str]:
    """Names of the encoders to try, the largest first; of a fixed ``encoder``, itself.

    An encoder whose languages do not fit the script of the texts is left out, unless none is left then.
    """
    if settings.encoder != AUTO:
        return [settings.encoder]
    encoders = known()
    here = sorted(
        (name for name in encoders if at_hand(name, encoders) is not None), key=lambda name: -encoders[name].parameters
    )
    if STRONGEST not in here:
        say(f"{STRONGEST} is not at hand: {GAINED}; `tlnlp encoders fetch {STRONGEST}` brings it (25 MB)")
    fitting = [name for name in here if fits_script(encoders[name], texts)]
    if len(fitting) < len(here):
        left_out = ", ".join(name for name in here if name not in fitting)
        then = "left out" if fitting else "used all the same, as none at hand knows another: name one by `encoder`"
        say(f"most letters of the texts are not Latin; made for English: {left_out}, {then}")
    return fitting or here


def fits_script(encoder: KnownEncoder, texts: Sequence[str]) -> bool:
    """Whether the encoder's languages can be written in the script of most of the texts."""
    return encoder.languages.lower() != "english" or other_script(texts) < OTHER_SCRIPT


def other_script(texts: Sequence[str]) -> float:
    """The share of letters that are not Latin, by the names that Unicode gives them."""
    letters = [letter for text in texts[:LOOKED_AT] for letter in text[:LOOKED_AT] if letter.isalpha()]
    return sum("LATIN" not in unicodedata.name(letter, "") for letter in letters) / max(1, len(letters))


def choose(runs: Mapping[str, Run]) -> tuple[Run, list[EncoderTrial]]:
    """Try the encoders of the runs, the largest first, and return the run of the one that teaches.

    A smaller one is taken where it is right about more of the labels by more than chance explains, or where they are
    enough to show that it loses less than a point. Where too few labels could be held out, the largest is taken.

    Raises:
        EngineError: the labels could not be read.
    """
    if len(runs) == 1:
        return next(iter(runs.values())), []
    tried, hits = list[EncoderTrial](), dict[str, NDArray[np.bool_] | None]()
    for name, run in runs.items():
        one, hits[name] = _try(name, run)
        tried.append(one)
    first = next(iter(runs))
    chosen, why = first, "the largest; too few labels could be held out to compare"
    for name in list(runs)[1:]:
        chosen, why = _better(chosen, name, hits, why)
    for one in tried:
        say(f"encoder {one.encoder}: {_told(one)}")
    say(f"encoder {chosen} teaches: {why}")
    return runs[chosen], sorted(tried, key=lambda one: one.encoder != chosen)


def _better(chosen: str, other: str, hits: Mapping[str, NDArray[np.bool_] | None], why: str) -> tuple[str, str]:
    """Which of two encoders goes on, the ``other`` one being smaller, and why."""
    ours, theirs = hits[chosen], hits[other]
    if ours is None or theirs is None:
        return chosen, why
    lead, low, high = paired_interval(ours, theirs)
    between = f"95 % interval {low:+.1%} to {high:+.1%}"
    if high < 0:
        return other, f"it is right about {-lead:.1%} more of the labels than {chosen} ({between})"
    if high < WORTH_A_LARGER:
        return other, f"it is smaller than {chosen}, which is ahead by less than a point ({lead:+.1%}, {between})"
    if low > 0:
        return chosen, f"it is right about {lead:.1%} more of the labels than {other} ({between})"
    return chosen, f"it is the larger, and the labels do not show that {other} is as good ({lead:+.1%}, {between})"


def _try(name: str, run: Run) -> tuple[EncoderTrial, NDArray[np.bool_] | None]:
    examples = run.examples
    frozen = embed_labels(run)
    found = cross_validate_pretrained(examples, run.settings.seed, frozen)
    names = accuracy_by_names(frozen, examples) if len(frozen.names) and len(frozen.labels) else None
    entry = known().get(name)
    parameters = entry.parameters if entry is not None else None
    if found is None:
        return EncoderTrial(name, parameters, None, None, names, frozen.tokens_per_s, 0), None
    hits = found.hits(examples.targets)
    interval = wilson(int(hits.sum()), len(hits))
    return EncoderTrial(name, parameters, float(hits.mean()), interval, names, frozen.tokens_per_s, len(hits)), hits


def _told(one: EncoderTrial) -> str:
    if one.accuracy is None or one.interval is None:
        return "not measured, too few labels could be held out"
    names = f"; {one.by_names:.1%} by class names alone" if one.by_names is not None else ""
    low, high = one.interval
    return f"{one.accuracy:.1%} of {one.n} held-out labels right as pretrained ({low:.0%} to {high:.0%}){names}"
