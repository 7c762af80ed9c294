"""The figures of a trained model: cross-validated accuracy, and the data of the report in its bundle."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlnlp.data.labels import LabelledSet
from tlnlp.data.pool import Pool
from tlnlp.data.text import text_sha256
from tlnlp.evaluate.metrics import Evaluation, evaluate
from tlnlp.evaluate.report_figures import HeldOut, findings
from tlnlp.evaluate.suspected_labels import LabelPlace
from tlnlp.model.calibration import fit_weights
from tlnlp.model.combine import Floats, combine
from tlnlp.train.context import Run
from tlnlp.train.cross_validation import cross_validate_pretrained, learning_curve
from tlnlp.train.dataset import Examples
from tlnlp.train.learned_model import LearnedModel

# Parts for cross-fitting the combination, so that no label is measured with weights that it helped to fit.
PARTS = 5


def cross_fitted(encoder: Floats, ngram: Floats, targets: NDArray[np.int64], seed: int) -> Floats:
    """Return combined probabilities (texts, classes), those of each part with weights fitted on the other parts."""
    parts = np.random.default_rng((seed, 6)).permutation(len(targets)) % PARTS
    combined = np.zeros_like(encoder)
    for part in np.unique(parts):
        others = parts != part
        weights = fit_weights(encoder[others], ngram[others], targets[others]) if others.any() else (1.0, 0.0)
        combined[~others] = combine(encoder[~others], ngram[~others], *weights)
    return combined


def held_out_figures(examples: Examples, learned: LearnedModel, seed: int) -> Evaluation | None:
    """Return the cross-validated figures of a model, those of its report; None where no labels were held out."""
    validation = learned.cross_validation
    if validation is None:
        return None
    held = validation.held
    targets = examples.targets[held]
    after = cross_fitted(validation.encoder[held], validation.ngram[held], targets, seed)
    return evaluate(after, targets, examples.classes)


def make_report(run: Run, labelled: LabelledSet, learned: LearnedModel, pool: Pool | None) -> dict[str, Any]:
    """Return the report of ``training.json``: cross-validated findings, rounds, and counts of what was read; no text.

    Raises:
        EngineError: the fits of the learning curve failed.
    """
    examples, seed, validation = run.examples, run.settings.seed, learned.cross_validation
    report: dict[str, Any] = {
        "labels": {"n": len(examples.texts), "classes": labelled.counts},
        "rounds": list(learned.rounds),
    }
    if pool is not None:
        report["pool"] = {
            "documents": len(pool.texts),
            "read": learned.documents_read,
            "labelled_inside": pool.labelled_inside,
        }
    if validation is None:
        return report
    held = validation.held
    encoder, ngram, targets = validation.encoder[held], validation.ngram[held], examples.targets[held]
    at = [labelled.examples[i] for i in held]
    places = [LabelPlace(one.file, one.row, one.label, text_sha256(one.text)) for one in at]
    after = cross_fitted(encoder, ngram, targets, seed)
    baselines = {"ngram": ngram}
    if validation.tuned and (pretrained := _as_pretrained(examples, learned, seed)) is not None:
        baselines["frozen_encoder"] = pretrained[held]
    curve, of = learning_curve(run, validation, learned.frozen)
    report |= findings(HeldOut(examples.classes, targets, places, encoder, after, baselines, curve), seed)
    report["learning_curve"]["of"] = of
    return report


def _as_pretrained(examples: Examples, learned: LearnedModel, seed: int) -> Floats | None:
    """Return probabilities (labels, classes) of held-out labels by the pretrained encoder, on the same folds."""
    assert learned.cross_validation is not None
    folds = learned.cross_validation.folds
    parts = len(set(folds[folds >= 0].tolist()))
    pretrained = cross_validate_pretrained(examples, seed, learned.frozen, parts)
    return None if pretrained is None else pretrained.encoder
