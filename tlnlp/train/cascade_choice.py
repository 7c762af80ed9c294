"""Choose the cascades of a version on documents that were set aside, with a student where it makes them faster."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tlnlp.config import FinetuneSettings
from tlnlp.evaluate.cascade_gate import CascadeTest, fit_cascade
from tlnlp.model.bundle_spec import BundleSpec
from tlnlp.model.cascade import Cascade
from tlnlp.model.combine import Floats
from tlnlp.model.engines.engine import Engine
from tlnlp.model.ngram import NgramView
from tlnlp.model.profile import CTRANSLATE2_INT8, FAST, SAFE
from tlnlp.model.student import Student
from tlnlp.runs.progress import meter, say
from tlnlp.train.dataset import Reader

# Documents that are read between two signs of progress.
READ_AT_ONCE = 256
# A student must save this share of the time that the encoder takes: less could be chance.
LEAST_SAVING = 0.1


@dataclass(frozen=True)
class Views:
    """Both views of a trained model, the engines that can run the encoder, and the student if there is one."""

    spec: BundleSpec
    reader: Reader
    ngram: NgramView
    engines: dict[str, Engine]
    student: Student | None = None


@dataclass(frozen=True)
class AsideProbabilities:
    """What each stage of a cascade says of the documents that were set aside, and how long the last two take.

    Fields:
        ngram, both: probabilities (documents, classes).
        student: probabilities (documents, classes); None without a student.
        encoder_s, student_s: seconds for one document, without tokenisation.
    """

    ngram: Floats
    both: Floats
    encoder_s: float
    student: Floats | None = None
    student_s: float = 0.0


def choose_cascades(
    settings: FinetuneSettings, views: Views, engine: str, aside: Sequence[str]
) -> tuple[dict[str, Cascade], dict[str, Any]]:
    """Return the cascades that pass their test on documents that were set aside, and the tests, by profile."""
    if not aside:
        return {}, {}
    read = _read(views, engine, aside)
    cascades, tests = {}, {}
    for name, limit in ((SAFE, settings.cascade.safe), (FAST, settings.cascade.fast)):
        found = best_cascade(read, limit)
        if found is None:
            say(f"cascade {name}: none keeps the limit of {limit:.1%} changed labels on {len(aside):,} documents")
            continue
        cascades[name], test = found
        tests[name] = test.to_json()
        student = f", the student {test.student_share:.0%}" if cascades[name].student else ""
        say(
            f"cascade {name}: the n-gram view settles {test.settled_share:.0%}{student}; that changes {test.changed} "
            f"of {test.tested:,} labels (at most {limit:.1%} of all documents, with 95% confidence)"
        )
    if views.student is not None and not any(cascade.student for cascade in cascades.values()):
        say("student: it would not make a night faster, so it is left out")
    return cascades, tests


def best_cascade(read: AsideProbabilities, limit: float) -> tuple[Cascade, CascadeTest] | None:
    """Return the faster of the cascades with and without a student, and its test; None if none passes.

    Args:
        limit: largest allowed share of documents whose label changes.
    """
    plain = fit_cascade(read.ngram, read.both, limit)
    if read.student is None:
        return plain
    asked = fit_cascade(read.ngram, read.both, limit, read.student)
    return asked if _seconds(asked, read) < (1 - LEAST_SAVING) * _seconds(plain, read) else plain


def _seconds(found: tuple[Cascade, CascadeTest] | None, read: AsideProbabilities) -> float:
    """Return the seconds that student and encoder take for a document, on average."""
    if found is None:
        return read.encoder_s
    cascade, test = found
    left = 1 - test.settled_share
    return (left - test.student_share) * read.encoder_s + (left * read.student_s if cascade.student else 0.0)


def _read(views: Views, engine: str, aside: Sequence[str]) -> AsideProbabilities:
    prepared = views.reader.prepare(aside)
    ngram = views.ngram.predict(prepared)
    encoded = views.reader.cut.encode(prepared)
    what = "scoring documents that were set aside"
    encoder, encoder_s = _timed(views.engines[engine].predict, encoded, what)
    both = views.spec.combined(encoder, ngram)
    if views.student is None or engine != CTRANSLATE2_INT8:
        return AsideProbabilities(ngram, both, encoder_s)
    student, student_s = _timed(views.student.predict, encoded, "scoring them with the student")
    return AsideProbabilities(ngram, both, encoder_s, student, student_s)


def _timed(predict: Callable[[list[list[int]]], Floats], encoded: list[list[int]], what: str) -> tuple[Floats, float]:
    """Return probabilities (texts, classes), and the seconds for one text."""
    began, parts = time.monotonic(), []
    with meter(what, len(encoded)) as shown:
        for start in range(0, len(encoded), READ_AT_ONCE):
            parts.append(predict(encoded[start : start + READ_AT_ONCE]))
            shown.update(min(len(encoded), start + READ_AT_ONCE))
    return np.vstack(parts), (time.monotonic() - began) / len(encoded)
