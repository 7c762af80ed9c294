"""Cross-validation of the labels-only model: each fit predicts the labels that were held out from it.

These predictions choose the weights of the two views, calibrate the combination, and measure the model that is then
trained on all labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tlnlp.evaluate.learning_curve import CurvePoint
from tlnlp.model.combine import Floats
from tlnlp.train.context import Run
from tlnlp.train.dataset import Examples
from tlnlp.train.fit.encoder_fit import EncoderFit, FitResult
from tlnlp.train.fit.linear_head import LinearHead, linear_head
from tlnlp.train.fit.ngram_fit import NgramFit
from tlnlp.train.folds import FOLDS, ONE_FOLD_FROM, measured_folds, stratified_folds
from tlnlp.train.frozen_encoder import PretrainedEmbeddings, ProbeRecipe, cross_validate_probe
from tlnlp.train.tuned_constants import TUNED

# Fewest held-out labels for a cross-validation.
MIN_HELD_OUT = 8
# The learning curve: fewest labels for it, the shares of the labels it is measured at, and folds per share.
LEAST_OF_A_CURVE = 40
CURVE_SHARES = (0.25, 0.5)
CURVE_FOLDS = 2
# Draws per share and fold where the encoder stays as pretrained; a point then costs next to nothing.
CURVE_DRAWS = 5


@dataclass(frozen=True)
class CrossValidation:
    """Fits that each hold out one fold, and what they predict of it.

    Fields:
        folds: the fold of each label, (labels,).
        measured: the folds that were held out, one fit each.
        held: positions of the held-out labels, (held-out,).
        fits: the encoder fit of each measured fold; empty where the encoder stayed as pretrained.
        heads: the linear head of each measured fold.
        encoder: probabilities (labels, classes) by the encoder view that did not see the label; other rows are 0.
        ngram: the same by the n-gram view.
        recipe: how the head was fitted, where the encoder stayed as pretrained.
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
        """Return whether the encoder was fine-tuned."""
        return bool(self.fits)

    def hits(self, targets: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which held-out labels the encoder view predicts correctly, (held-out,)."""
        return np.asarray(self.encoder[self.held].argmax(axis=1) == targets[self.held])


def cross_validate_pretrained(
    examples: Examples, seed: int, frozen: PretrainedEmbeddings, parts: int = FOLDS
) -> CrossValidation | None:
    """Cross-validate linear heads on the pretrained encoder, and n-gram views.

    Returns:
        None where too few labels can be held out, or where not all labels were embedded.
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
    """Return the number of folds for fits that tune the encoder.

    Few labels must not take minutes, and documents need the time too: both get two folds. Many labels hold out a single
    fold, with one fit, so that fold need not be a half.
    """
    halved = labels <= TUNED.few_labels_halved or (with_documents and labels < ONE_FOLD_FROM)
    return 2 if halved else FOLDS


def cross_validate(
    run: Run, parts: int, beside: Sequence[EncoderFit] = ()
) -> tuple[CrossValidation | None, list[FitResult]]:
    """Cross-validate a tuned encoder and an n-gram view.

    Args:
        parts: the number of folds.
        beside: small fits that run side by side with those of the folds, on the same workers.

    Returns:
        The cross-validation, None where too few labels can be held out; and the results of ``beside``.

    Raises:
        EngineError: a fit failed.
    """
    examples, settings, executor = run.examples, run.settings, run.executor
    folds = stratified_folds(examples.targets.tolist(), settings.seed, parts)
    measured = measured_folds(len(folds), parts)
    held = np.flatnonzero(np.isin(folds, list(measured)))
    if len(held) < MIN_HELD_OUT:
        fits = list(beside)
        return None, run.resume_cache.fits("small-fits", lambda: executor.fit_each(fits, "training")) if fits else []
    splits = [(np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)) for fold in measured]
    fits = [
        examples.fit(settings, train, held_out, settings.seed * 1000 + 1 + fold)
        for fold, (train, held_out) in enumerate(splits)
    ] + list(beside)
    results = run.resume_cache.fits("cross-validation", lambda: executor.fit_each(fits, "cross-validation"))
    ngram_fits = [ngram_fit_of(examples, train, settings.seed, held_out) for train, held_out in splits]
    predicted = executor.predict_each(ngram_fits, "cross-validation of n-grams")
    encoder, ngram = np.zeros((2, len(folds), len(examples.classes)))
    for (_, held_out), fit, by_ngrams in zip(splits, results, predicted, strict=False):
        encoder[held_out], ngram[held_out] = fit.held_out, by_ngrams
    of_folds, others = results[: len(splits)], results[len(splits) :]
    heads = [LinearHead.of(fit.weights) for fit in of_folds]
    return CrossValidation(folds, measured, held, of_folds, heads, encoder, ngram), others


def learning_curve(run: Run, validation: CrossValidation, frozen: PretrainedEmbeddings) -> tuple[list[CurvePoint], str]:
    """Measure accuracy with a quarter, a half, and all of the labels outside a fold.

    A tuned encoder is fitted anew for each point, in fewer steps. With few labels those fits would cost more than the
    model, so the curve is that of a linear head on the pretrained encoder.

    Returns:
        The points, whose texts are positions of labels, and whose curve it is: ``model`` or ``as_pretrained``. No
        points where labels are too few.

    Raises:
        EngineError: a fit failed.
    """
    examples, of = run.examples, "model"
    count = len(examples.texts)
    if count < LEAST_OF_A_CURVE:
        return [], of
    if validation.tuned and count <= TUNED.few_labels_halved:
        pretrained, of = cross_validate_pretrained(examples, run.settings.seed, frozen), "as_pretrained"
        if pretrained is None:
            return [], of
        validation = pretrained
    curve = _tuned_curve(run, validation) if validation.tuned else _frozen_curve(examples, validation, frozen)
    hits = validation.hits(examples.targets).astype(np.int64)
    labels = int(np.mean([(validation.folds != fold).sum() for fold in validation.measured]))
    return [*curve, CurvePoint(labels, validation.held, hits)], of


def _frozen_curve(examples: Examples, validation: CrossValidation, frozen: PretrainedEmbeddings) -> list[CurvePoint]:
    curve, order = [], np.argsort(frozen.chosen)
    states = frozen.labels[order]
    for share in CURVE_SHARES:
        fits = []
        for fold in validation.measured:
            held_out = np.flatnonzero(validation.folds == fold)
            for seed in range(CURVE_DRAWS):
                train = _subset(examples, validation, share, fold, seed)
                head = linear_head(states[train], examples.targets[train], len(examples.classes))
                if head is not None and len(held_out):
                    fits.append((len(train), held_out, head.predict(states[held_out])))
        curve += [_point(examples, fits)] if fits else []
    return curve


def _tuned_curve(run: Run, validation: CrossValidation) -> list[CurvePoint]:
    examples, settings = run.examples, run.settings
    parts = [
        (share, fold, _subset(examples, validation, share, fold, settings.seed))
        for share in CURVE_SHARES
        for fold in list(validation.measured)[:CURVE_FOLDS]
    ]
    fits = [_smaller_fit(run, validation, *part) for part in parts]
    results = run.resume_cache.fits("learning-curve", lambda: run.executor.fit_each(fits, "learning curve"))
    done = [
        (share, (len(train), np.flatnonzero(validation.folds == fold), result.held_out))
        for (share, fold, train), result in zip(parts, results, strict=True)
    ]
    return [_point(examples, [fit for of, fit in done if of == share]) for share in CURVE_SHARES]


def _point(examples: Examples, fits: Sequence[tuple[int, NDArray[np.int64], Floats]]) -> CurvePoint:
    """Return the point of fits with about the same number of labels: the number, held-out positions, probabilities."""
    texts = np.concatenate([held_out for _, held_out, _ in fits])
    predicted = np.concatenate([probabilities.argmax(axis=1) for *_, probabilities in fits])
    hits = (predicted == examples.targets[texts]).astype(np.int64)
    return CurvePoint(round(np.mean([labels for labels, *_ in fits])), texts, hits)


def _subset(examples: Examples, validation: CrossValidation, share: float, fold: int, seed: int) -> NDArray[np.int64]:
    """Return positions of a share of the labels outside a fold, at least two of each class."""
    outside = np.flatnonzero(validation.folds != fold)
    generator = np.random.default_rng((seed, 7, fold))
    chosen = []
    for k in np.unique(examples.targets[outside]):
        members = generator.permutation(outside[examples.targets[outside] == k])
        chosen.append(members[: max(2, round(share * len(members)))])
    return np.sort(np.concatenate(chosen))


def _smaller_fit(
    run: Run, validation: CrossValidation, share: float, fold: int, train: NDArray[np.int64]
) -> EncoderFit:
    settings = run.settings
    fit = run.examples.fit(settings, train, np.flatnonzero(validation.folds == fold), settings.seed * 1000 + 50 + fold)
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
        TUNED.labels_c,
    )
