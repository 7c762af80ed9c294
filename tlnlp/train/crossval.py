"""Learning from the labels alone, cross-validated: what each fit says of the labels that it has not seen.

Their guesses weigh, calibrate and measure the two views of a model that learns from all labels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tlnlp.config import FinetuneSettings
from tlnlp.model.combine import Floats
from tlnlp.train.examples import Examples
from tlnlp.train.fit import Fit
from tlnlp.train.kept import Kept
from tlnlp.train.ray_job import FitResult
from tlnlp.train.split import measured_folds, stratified_folds
from tlnlp.train.tasks import Lesson, fit_each, guess_each

# Fewer held-out labels than this measure nothing.
MIN_HELD_OUT = 8
LABELS_C = 10.0
# The learning curve: from so many labels on, on these shares of them, over so many folds.
LEAST_OF_A_CURVE = 40
CURVE_SHARES = (0.25, 0.5)
CURVE_FOLDS = 2


@dataclass(frozen=True)
class CrossValidation:
    """``folds`` (labels,): the fold of each label; ``measured``: the folds that were held out, one fit each.

    ``encoder`` and ``ngram`` (labels, classes): guesses of each held-out label by the fit that did not see it, rows of
    other labels are nothing; ``held`` (held-out,): positions of the held-out labels.
    """

    folds: NDArray[np.int64]
    measured: range
    held: NDArray[np.int64]
    fits: list[FitResult]
    encoder: Floats
    ngram: Floats


def cross_validate(examples: Examples, settings: FinetuneSettings, kept: Kept) -> CrossValidation | None:
    """One fit of each view a fold, on the labels outside it; None where too few labels could be held out.

    Raises:
        EngineError.
    """
    folds = stratified_folds(examples.targets.tolist(), settings.seed)
    measured = measured_folds(len(folds))
    held = np.flatnonzero(np.isin(folds, list(measured)))
    if len(held) < MIN_HELD_OUT:
        return None
    splits = [(np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)) for fold in measured]
    fits = [
        examples.fit(settings, train, held_out, settings.seed * 1000 + 1 + fold)
        for fold, (train, held_out) in enumerate(splits)
    ]
    results = kept.fits("cross-validation", lambda: fit_each(fits, settings.ray, "cross-validation"))
    lessons = [lesson_of(examples, train, settings.seed, held_out) for train, held_out in splits]
    guessed = guess_each(lessons, settings.ray, "cross-validation of n-grams")
    encoder, ngram = np.zeros((2, len(folds), len(examples.classes)))
    for (_, held_out), fit, guesses in zip(splits, results, guessed, strict=True):
        encoder[held_out], ngram[held_out] = fit.held_out, guesses
    return CrossValidation(folds, measured, held, results, encoder, ngram)


def learning_curve(
    examples: Examples, settings: FinetuneSettings, found: CrossValidation, kept: Kept
) -> list[tuple[int, NDArray[np.int64]]]:
    """Labels learned from, and hits among held-out labels, (texts,): of fits on a quarter and a half of the labels
    outside a fold, in fewer steps, and of the cross-validation itself.

    Raises:
        EngineError.
    """
    if len(examples.texts) < LEAST_OF_A_CURVE:
        return []
    parts = [
        (share, fold, _fewer(examples, settings, found, share, fold))
        for share in CURVE_SHARES
        for fold in list(found.measured)[:CURVE_FOLDS]
    ]
    fits = [_smaller(examples, settings, found, *part) for part in parts]
    results = kept.fits("learning-curve", lambda: fit_each(fits, settings.ray, "learning curve"))
    curve = []
    for (_, fold, train), result in zip(parts, results, strict=True):
        targets = examples.targets[found.folds == fold]
        curve.append((len(train), (result.held_out.argmax(axis=1) == targets).astype(np.int64)))
    whole = (found.encoder[found.held].argmax(axis=1) == examples.targets[found.held]).astype(np.int64)
    return [*curve, (int(np.mean([(found.folds != fold).sum() for fold in found.measured])), whole)]


def _fewer(
    examples: Examples, settings: FinetuneSettings, found: CrossValidation, share: float, fold: int
) -> NDArray[np.int64]:
    """Positions of a share of the labels outside a fold, two or more of each class."""
    outside = np.flatnonzero(found.folds != fold)
    generator = np.random.default_rng((settings.seed, 7, fold))
    chosen = []
    for k in np.unique(examples.targets[outside]):
        members = generator.permutation(outside[examples.targets[outside] == k])
        chosen.append(members[: max(2, round(share * len(members)))])
    return np.sort(np.concatenate(chosen))


def _smaller(
    examples: Examples,
    settings: FinetuneSettings,
    found: CrossValidation,
    share: float,
    fold: int,
    train: NDArray[np.int64],
) -> Fit:
    fit = examples.fit(settings, train, np.flatnonzero(found.folds == fold), settings.seed * 1000 + 50 + fold)
    return replace(fit, steps=max(10, round(share * fit.steps)))


def lesson_of(examples: Examples, train: NDArray[np.int64], seed: int, guessed: NDArray[np.int64]) -> Lesson:
    """The n-gram view learns from some labels and guesses others."""
    return Lesson(
        [examples.texts[i] for i in train],
        examples.targets[train],
        np.ones(len(train)),
        [examples.texts[i] for i in guessed],
        len(examples.classes),
        seed,
        LABELS_C,
    )
