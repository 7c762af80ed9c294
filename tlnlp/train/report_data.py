"""What a run of fine-tuning tells of its model: cross-validated figures, and the report that goes into the bundle."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlnlp.data.labels import LabelledSet
from tlnlp.data.pool import Pool
from tlnlp.evaluate.findings import findings
from tlnlp.evaluate.metrics import Evaluation, evaluate
from tlnlp.model.combine import Floats, combine, fit_weights
from tlnlp.train.context import Run
from tlnlp.train.cross_validation import cross_validate_pretrained, learning_curve
from tlnlp.train.dataset import Examples
from tlnlp.train.learned import Learned

# Parts that the calibration is cross-fitted over, so that no label is measured by weights that it helped to fit.
PARTS = 5


def cross_fitted(encoder: Floats, ngram: Floats, targets: NDArray[np.int64], seed: int) -> Floats:
    """Combined probabilities (texts, classes), each text by weights fitted on the others."""
    parts = np.random.default_rng((seed, 6)).permutation(len(targets)) % PARTS
    found = np.zeros_like(encoder)
    for part in np.unique(parts):
        others = parts != part
        weights = fit_weights(encoder[others], ngram[others], targets[others]) if others.any() else (1.0, 0.0)
        found[~others] = combine(encoder[~others], ngram[~others], *weights)
    return found


def held_out_figures(examples: Examples, learned: Learned) -> Evaluation | None:
    """None where no labels were held out."""
    if learned.found is None:
        return None
    held = learned.found.held
    targets = examples.targets[held]
    after = cross_fitted(learned.found.encoder[held], learned.found.ngram[held], targets, 0)
    return evaluate(after, targets, examples.classes)


def make_report(run: Run, labelled: LabelledSet, learned: Learned, pool: Pool | None) -> dict[str, Any]:
    """The report of ``training.json``: cross-validated findings, rounds, what was read. Holds no text.

    Raises:
        EngineError: the fits of the learning curve failed.
    """
    examples, seed = run.examples, run.settings.seed
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
    if learned.found is None:
        return report
    held = learned.found.held
    encoder, ngram, targets = learned.found.encoder[held], learned.found.ngram[held], examples.targets[held]
    places = [(labelled.examples[i].file, labelled.examples[i].row, labelled.examples[i].label) for i in held]
    after = cross_fitted(encoder, ngram, targets, seed)
    baselines = {"ngram": ngram}
    if learned.found.tuned and (still := _as_pretrained(examples, learned, seed)) is not None:
        baselines["frozen_encoder"] = still[held]
    curve, of = learning_curve(run, learned.found, learned.frozen)
    report |= findings(encoder, after, targets, examples.classes, places, baselines, curve, seed)
    report["learning_curve"]["of"] = of
    return report


def _as_pretrained(examples: Examples, learned: Learned, seed: int) -> Floats | None:
    """Probabilities (labels, classes) of held-out labels by the encoder as it was pretrained, on the same folds."""
    assert learned.found is not None
    parts = len(set(learned.found.folds[learned.found.folds >= 0].tolist()))
    beside = cross_validate_pretrained(examples, seed, learned.frozen, parts)
    return None if beside is None else beside.encoder
