"""Encoder selection for ``encoder: auto``: the encoders at hand compete on the user's own labels.

Each encoder embeds the labelled texts as pretrained, and a linear head on its embeddings is cross-validated. This takes
seconds for each, and predicts well which encoder is best after fine-tuning.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlnlp.config import FinetuneSettings
from tlnlp.evaluate.intervals import paired_interval, wilson
from tlnlp.model.encoder_catalogue import KnownEncoder, at_hand, known
from tlnlp.runs.progress import say
from tlnlp.train.context import Run
from tlnlp.train.cross_validation import cross_validate_pretrained
from tlnlp.train.frozen_encoder import accuracy_by_names, embed_labels
from tlnlp.train.tuned_constants import TUNED

AUTO = "auto"
# The most accurate encoder that this project has measured; a log line recommends it to users who lack it.
STRONGEST = "e5-small-v2"
GAIN = "on this project's benchmark its accuracy is about 4 to 20 points higher from the same labels"
# Texts, and characters of each, that the share of non-Latin letters is measured on.
SAMPLED = 1000


@dataclass(frozen=True)
class EncoderTrial:
    """The result of one encoder.

    Fields:
        accuracy: of the cross-validated head on its embeddings; None where it could not be measured.
        interval: the 95 % interval of ``accuracy``.
        by_names: balanced accuracy by the nearest class name; None where it could not be measured.
        tokens_per_s: throughput of embedding.
        n: the number of held-out labels.
    """

    encoder: str
    parameters: int | None
    accuracy: float | None
    interval: tuple[float, float] | None
    by_names: float | None
    tokens_per_s: float
    n: int

    def to_json(self) -> dict[str, Any]:
        """Return the fields, rounded, for ledger and report."""
        return {key: round(value, 4) if isinstance(value, float) else value for key, value in asdict(self).items()}


def candidates(settings: FinetuneSettings, texts: Sequence[str]) -> list[str]:
    """Return the names of the encoders to try, the largest first; with a fixed ``encoder``, only that one.

    An encoder whose languages do not fit the script of the texts is left out, unless that leaves none.
    """
    if settings.encoder != AUTO:
        return [settings.encoder]
    encoders = known()
    here = sorted(
        (name for name in encoders if at_hand(name, encoders) is not None), key=lambda name: -encoders[name].parameters
    )
    if STRONGEST not in here:
        say(f"{STRONGEST} is not at hand: {GAIN}: fetch it by `tlnlp encoders fetch {STRONGEST}` (25 MB)")
    fitting = [name for name in here if fits_script(encoders[name], texts)]
    if len(fitting) < len(here):
        english = ", ".join(name for name in here if name not in fitting)
        then = "left out" if fitting else "used because no other encoder is at hand: set `encoder` to another one"
        say(f"most letters of the texts are not Latin: encoders made for English: {english}: {then}")
    return fitting or here


def fits_script(encoder: KnownEncoder, texts: Sequence[str]) -> bool:
    """Return whether the encoder's languages are written in the script of most of the texts."""
    return encoder.languages.lower() != "english" or other_script(texts) < TUNED.other_script


def other_script(texts: Sequence[str]) -> float:
    """Return the share of letters whose Unicode names are not Latin."""
    letters = [letter for text in texts[:SAMPLED] for letter in text[:SAMPLED] if letter.isalpha()]
    return sum("LATIN" not in unicodedata.name(letter, "") for letter in letters) / max(1, len(letters))


def choose(runs: Mapping[str, Run]) -> tuple[Run, list[EncoderTrial]]:
    """Try the encoder of each run, and return the run of the best one.

    A smaller encoder wins where it is significantly more accurate, or where the labels show that it loses less than a
    point. With too few labels to hold out, the largest wins.

    Args:
        runs: runs by the name of their encoder, the largest first.

    Returns:
        The chosen run, and the results of all encoders, the chosen one first; none where there is a single encoder.

    Raises:
        EngineError: the labels could not be embedded.
    """
    if len(runs) == 1:
        return next(iter(runs.values())), []
    tried, hits = list[EncoderTrial](), dict[str, NDArray[np.bool_] | None]()
    for name, run in runs.items():
        trial, hits[name] = _try(name, run)
        tried.append(trial)
    first = next(iter(runs))
    chosen, why = first, "it is the largest, and there are too few labels to compare encoders"
    for name in list(runs)[1:]:
        chosen, why = _better(chosen, name, hits, why)
    for trial in tried:
        say(f"encoder {trial.encoder}: {_describe(trial)}")
    say(f"encoder {chosen} is chosen: {why}")
    return runs[chosen], sorted(tried, key=lambda trial: trial.encoder != chosen)


def _better(chosen: str, other: str, hits: Mapping[str, NDArray[np.bool_] | None], why: str) -> tuple[str, str]:
    """Return the better of two encoders, and why; ``other`` is the smaller one."""
    ours, theirs = hits[chosen], hits[other]
    if ours is None or theirs is None:
        return chosen, why
    lead, low, high = paired_interval(ours, theirs)
    between = f"95 % interval {low:+.1%} to {high:+.1%}"
    if high < 0:
        return other, f"it predicts {-lead:.1%} more of the labels correctly than {chosen} ({between})"
    if high < TUNED.worth_a_larger:
        return other, f"it is smaller than {chosen}, which is less than a point more accurate ({lead:+.1%}, {between})"
    if low > 0:
        return chosen, f"it predicts {lead:.1%} more of the labels correctly than {other} ({between})"
    return chosen, f"it is larger, and the labels do not show that {other} is as accurate ({lead:+.1%}, {between})"


def _try(name: str, run: Run) -> tuple[EncoderTrial, NDArray[np.bool_] | None]:
    examples = run.examples
    frozen = embed_labels(run)
    validation = cross_validate_pretrained(examples, run.settings.seed, frozen)
    names = accuracy_by_names(frozen, examples) if len(frozen.names) and len(frozen.labels) else None
    entry = known().get(name)
    parameters = entry.parameters if entry is not None else None
    if validation is None:
        return EncoderTrial(name, parameters, None, None, names, frozen.tokens_per_s, 0), None
    hits = validation.hits(examples.targets)
    interval = wilson(int(hits.sum()), len(hits))
    return EncoderTrial(name, parameters, float(hits.mean()), interval, names, frozen.tokens_per_s, len(hits)), hits


def _describe(trial: EncoderTrial) -> str:
    """Return the log line of a trial, without the encoder's name."""
    if trial.accuracy is None or trial.interval is None:
        return "not measured: too few labels can be held out"
    names = f"; {trial.by_names:.1%} by class names alone" if trial.by_names is not None else ""
    low, high = trial.interval
    return f"{trial.accuracy:.1%} of {trial.n} held-out labels right as pretrained ({low:.0%} to {high:.0%}){names}"
