"""Learning from the labels alone, cross-validated: what each fit says of the labels that it has not seen.

Their guesses weigh, calibrate and measure the two views of a model that learns from all labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tlnlp.model.combine import Floats
from tlnlp.train.context import Run
from tlnlp.train.dataset import Examples
from tlnlp.train.fit.encoder_fit import EncoderFit, FitResult
from tlnlp.train.fit.linear_head import LinearHead, linear_head
from tlnlp.train.fit.ngram_fit import NgramFit
from tlnlp.train.folds import FOLDS, ONE_FOLD_FROM, measured_folds, stratified_folds
from tlnlp.train.frozen_encoder import PretrainedEmbeddings, ProbeRecipe, cross_validate_probe

# Fewer held-out labels than this measure nothing.
MIN_HELD_OUT = 8
LABELS_C = 10.0
# Up to so many labels, fits that move the encoder leave out a half of them in turn, not a quarter: half as many fits.
FEW_LABELS_HALVED = 250
# The learning curve: from so many labels on, on these shares of them, over so many folds.
LEAST_OF_A_CURVE = 40
CURVE_SHARES = (0.25, 0.5)
CURVE_FOLDS = 2
# A curve of frozen states costs next to nothing, so it is drawn several times.
CURVE_DRAWS = 5


@dataclass(frozen=True)
class CrossValidation:
    """``folds`` (labels,): the fold of each label; ``measured``: the folds that were held out, one fit each.

    ``encoder`` and ``ngram`` (labels, classes): probabilities of each held-out label by the fit that did not see it,
    rows of other labels are nothing; ``held`` (held-out,): positions of the held-out labels; ``heads``: the linear head
    of each fold. ``fits``: of the folds in which the encoder moved, none where it stayed as it was pretrained;
    ``recipe``: of the head, where it stayed.
    """

    folds: NDArray[np.int64]
    measured: range
    held: NDArray[np.int64]
    fits: list[FitResult]
    heads: list[LinearHead]
    encoder: Floats
    ngram: Floats
    recipe: ProbeRecipe | None = None

    @property
    def tuned(self) -> bool:
        """Whether the encoder moved."""
        return bool(self.fits)

    def hits(self, targets: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of the held-out labels the encoder view gets right, (held-out,)."""
        return np.asarray(self.encoder[self.held].argmax(axis=1) == targets[self.held])


def cross_validate_pretrained(
    examples: Examples, seed: int, frozen: PretrainedEmbeddings, parts: int = FOLDS
) -> CrossValidation | None:
    """Fit linear heads to the frozen states and n-grams to the texts, a part left out in turn; nothing is moved.

    None where too few labels could be held out, or where not all labels were read.
    """
    folds = stratified_folds(examples.targets.tolist(), seed, parts)
    measured = measured_folds(len(folds), parts)
    held = np.flatnonzero(np.isin(folds, list(measured)))
    if len(held) < MIN_HELD_OUT or len(frozen.chosen) < len(folds):
        return None
    probe = cross_validate_probe(frozen, examples, folds, measured)
    if probe is None:
        return None
    encoder, ngram = np.zeros((2, len(folds), len(examples.classes)))
    encoder[frozen.chosen] = probe.held_out
    for fold in measured:
        train, held_out = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        ngram[held_out] = ngram_fit_of(examples, train, seed, held_out).predict()
    heads = [probe.heads[fold] for fold in measured]
    return CrossValidation(folds, measured, held, [], heads, encoder, ngram, probe.recipe)


def fold_count(labels: int, *, with_documents: bool) -> int:
    """How many parts labels are left out in, where each costs a fit of the encoder.

    Few labels must not take minutes; and where documents are to be learned from, these deserve the time. Of many labels
    one part alone is held out, at one fit: it need not be a half.
    """
    halved = labels <= FEW_LABELS_HALVED or (with_documents and labels < ONE_FOLD_FROM)
    return 2 if halved else FOLDS


def cross_validate(
    run: Run, parts: int, beside: Sequence[EncoderFit] = ()
) -> tuple[CrossValidation | None, list[FitResult]]:
    """One fit of each view a part, on the labels outside it; None where too few labels could be held out.

    ``beside``: small fits that run side by side with these on the same workers; their results come second.

    Raises:
        EngineError.
    """
    examples, settings, executor = run.examples, run.settings, run.executor
    folds = stratified_folds(examples.targets.tolist(), settings.seed, parts)
    measured = measured_folds(len(folds), parts)
    held = np.flatnonzero(np.isin(folds, list(measured)))
    if len(held) < MIN_HELD_OUT:
        fits = list(beside)
        return None, run.artifacts.fits("small-fits", lambda: executor.fit_each(fits, "training")) if fits else []
    splits = [(np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)) for fold in measured]
    fits = [
        examples.fit(settings, train, held_out, settings.seed * 1000 + 1 + fold)
        for fold, (train, held_out) in enumerate(splits)
    ] + list(beside)
    results = run.artifacts.fits("cross-validation", lambda: executor.fit_each(fits, "cross-validation"))
    ngram_fits = [ngram_fit_of(examples, train, settings.seed, held_out) for train, held_out in splits]
    predicted = executor.predict_each(ngram_fits, "cross-validation of n-grams")
    encoder, ngram = np.zeros((2, len(folds), len(examples.classes)))
    for (_, held_out), fit, guesses in zip(splits, results, predicted, strict=False):
        encoder[held_out], ngram[held_out] = fit.held_out, guesses
    of_folds, others = results[: len(splits)], results[len(splits) :]
    heads = [LinearHead.of(fit.weights) for fit in of_folds]
    return CrossValidation(folds, measured, held, of_folds, heads, encoder, ngram), others


def learning_curve(
    run: Run, found: CrossValidation, frozen: PretrainedEmbeddings
) -> tuple[list[tuple[int, NDArray[np.int64]]], str]:
    """Labels learned from, and hits among held-out labels, (texts,): of fits on a quarter and a half of the labels
    outside a fold, and of the cross-validation itself; and of which model: ``model`` or ``as_pretrained``.

    Where the encoder moves, each point is a fit of it, in fewer steps. Of few labels those would cost more than the
    model itself, so the curve is that of a head on the encoder as it was pretrained, which costs next to nothing.

    Raises:
        EngineError.
    """
    examples, of = run.examples, "model"
    count = len(examples.texts)
    if count < LEAST_OF_A_CURVE:
        return [], of
    if found.tuned and count <= FEW_LABELS_HALVED:
        still, of = cross_validate_pretrained(examples, run.settings.seed, frozen), "as_pretrained"
        if still is None:
            return [], of
        found = still
    curve = _tuned_curve(run, found) if found.tuned else _frozen_curve(examples, found, frozen)
    whole = found.hits(examples.targets).astype(np.int64)
    return [*curve, (int(np.mean([(found.folds != fold).sum() for fold in found.measured])), whole)], of


def _frozen_curve(
    examples: Examples, found: CrossValidation, frozen: PretrainedEmbeddings
) -> list[tuple[int, NDArray[np.int64]]]:
    curve, place = [], np.argsort(frozen.chosen)
    states = frozen.labels[place]
    for share in CURVE_SHARES:
        for fold in found.measured:
            for seed in range(CURVE_DRAWS):
                train, held_out = _fewer(examples, found, share, fold, seed), found.folds == fold
                head = linear_head(states[train], examples.targets[train], len(examples.classes))
                if head is None or not held_out.any():
                    continue
                hits = head.predict(states[held_out]).argmax(axis=1) == examples.targets[held_out]
                curve.append((len(train), hits.astype(np.int64)))
    return curve


def _tuned_curve(run: Run, found: CrossValidation) -> list[tuple[int, NDArray[np.int64]]]:
    examples, settings = run.examples, run.settings
    parts = [
        (share, fold, _fewer(examples, found, share, fold, settings.seed))
        for share in CURVE_SHARES
        for fold in list(found.measured)[:CURVE_FOLDS]
    ]
    fits = [_smaller(run, found, *part) for part in parts]
    results = run.artifacts.fits("learning-curve", lambda: run.executor.fit_each(fits, "learning curve"))
    curve = []
    for (_, fold, train), result in zip(parts, results, strict=True):
        targets = examples.targets[found.folds == fold]
        curve.append((len(train), (result.held_out.argmax(axis=1) == targets).astype(np.int64)))
    return curve


def _fewer(examples: Examples, found: CrossValidation, share: float, fold: int, seed: int) -> NDArray[np.int64]:
    """Positions of a share of the labels outside a fold, two or more of each class."""
    outside = np.flatnonzero(found.folds != fold)
    generator = np.random.default_rng((seed, 7, fold))
    chosen = []
    for k in np.unique(examples.targets[outside]):
        members = generator.permutation(outside[examples.targets[outside] == k])
        chosen.append(members[: max(2, round(share * len(members)))])
    return np.sort(np.concatenate(chosen))


def _smaller(run: Run, found: CrossValidation, share: float, fold: int, train: NDArray[np.int64]) -> EncoderFit:
    settings = run.settings
    fit = run.examples.fit(settings, train, np.flatnonzero(found.folds == fold), settings.seed * 1000 + 50 + fold)
    return replace(fit, steps=max(10, round(share * fit.steps)))


def ngram_fit_of(examples: Examples, train: NDArray[np.int64], seed: int, held_out: NDArray[np.int64]) -> NgramFit:
    """Return the fit of an n-gram view that learns from some labels and predicts others."""
    return NgramFit(
        [examples.texts[i] for i in train],
        examples.targets[train],
        np.ones(len(train)),
        [examples.texts[i] for i in held_out],
        len(examples.classes),
        seed,
        LABELS_C,
    )
