"""Calibration of pseudo-labels: label spreading must predict labels that were held out, placed among the documents."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tlnlp.model.calibration import expected_error, fit_share
from tlnlp.model.combine import Floats
from tlnlp.train.context import Run
from tlnlp.train.cross_validation import CrossValidation
from tlnlp.train.dataset import Examples
from tlnlp.train.label_spreading import propagate_labels
from tlnlp.train.pseudo_label_calibration import PseudoLabelCalibration, sharpened, shrunken_error
from tlnlp.train.pseudo_labels import Documents, PseudoLabels, ngram_fit_on

# Embeddings (documents + labels, hidden) by the encoder of one fold, given the position of that fold.
FoldEmbeddings = Callable[[int], NDArray[np.float64]]


@dataclass(frozen=True)
class HeldOutCalibration:
    """The calibration, and the predictions it was measured on.

    Fields:
        propagated: probabilities (labels, classes) of held-out labels by label spreading; other rows are 0.
        calibration: the error rate of pseudo-labels, and the share of n-grams.
    """

    propagated: Floats
    calibration: PseudoLabelCalibration


def calibrate_on_held_out(
    run: Run, validation: CrossValidation, documents: Documents, embeddings: FoldEmbeddings
) -> HeldOutCalibration:
    """Predict each held-out label as a document is predicted in a round, and calibrate pseudo-labels on the result.

    Label spreading uses the encoder of the fold that holds the label out, and the labels of the other folds. N-grams
    learn from the pseudo-labels of the documents.

    Args:
        embeddings: returns embeddings (documents + labels, hidden) by the encoder of a fold.

    Raises:
        EngineError: a piece of work failed.
    """
    examples, count, held = run.examples, len(documents), validation.held
    by_fold = _propagate_in_folds(examples, validation, count, embeddings)
    propagated = _of_held_out(validation, {fold: of_all[count:] for fold, of_all in by_fold.items()})
    wrong = propagated[held].argmax(axis=1) != examples.targets[held]
    expected = float(np.mean([expected_error(of_all[:count]) for of_all in by_fold.values()]))
    error = shrunken_error(wrong, expected)
    calibrated = {fold: sharpened(of_all, error, of=of_all[:count]) for fold, of_all in by_fold.items()}
    ngram = _predict_by_ngrams(run, validation, documents, {fold: of[:count] for fold, of in calibrated.items()})
    of_labels = _of_held_out(validation, {fold: of_all[count:] for fold, of_all in calibrated.items()})
    share = fit_share(of_labels[held], ngram[held], examples.one_hot[held].astype(np.float64))
    # Error falls about as the root of the number of labels, and the fit on all labels has more than those of the folds.
    seen = float(np.mean([(validation.folds != fold).mean() for fold in validation.measured]))
    return HeldOutCalibration(propagated, PseudoLabelCalibration(error * seen**0.5, share))


def _of_held_out(validation: CrossValidation, by_fold: dict[int, Floats]) -> Floats:
    """Return (labels, classes): for each label, the probabilities of the fold that holds it out."""
    held_out = np.zeros_like(next(iter(by_fold.values())))
    for fold, of_labels in by_fold.items():
        held_out[validation.folds == fold] = of_labels[validation.folds == fold]
    return held_out


def _propagate_in_folds(
    examples: Examples, validation: CrossValidation, documents: int, embeddings: FoldEmbeddings
) -> dict[int, Floats]:
    """Return the propagated labels of all texts, (documents + labels, classes), by the fold that is held out."""
    by_fold = dict[int, Floats]()
    for position, fold in enumerate(validation.measured):
        known = examples.known(documents, validation.folds != fold)
        by_fold[fold] = propagate_labels(embeddings(position), validation.heads[position], known)
    return by_fold


def _predict_by_ngrams(
    run: Run, validation: CrossValidation, documents: Documents, propagated: dict[int, Floats]
) -> Floats:
    """Return probabilities (labels, classes) of held-out labels by n-grams that learned from pseudo-labels."""
    fits = [
        ngram_fit_on(PseudoLabels(documents.texts, of_documents), [], run.examples, run.settings)
        for of_documents in propagated.values()
    ]
    predicted = run.executor.predict_each(fits, "held-out labels by n-grams")
    return _of_held_out(validation, dict(zip(propagated, predicted, strict=True)))
