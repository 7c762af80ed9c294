"""How far pseudo-labels can be believed, measured on labels that were held out, placed among the documents."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tlnlp.model.combine import Floats, expected_error, fit_share
from tlnlp.train.context import Run
from tlnlp.train.cross_validation import CrossValidation
from tlnlp.train.dataset import Examples
from tlnlp.train.label_spreading import propagate_labels
from tlnlp.train.pseudo_label_calibration import PseudoLabelCalibration, drawn_error, sharpened
from tlnlp.train.pseudo_labels import Documents, PseudoLabels, ngram_fit_on

# Pooled states of documents and labelled texts in the space of the fit of one fold, by its position.
States = Callable[[int], NDArray[np.float64]]


@dataclass(frozen=True)
class HeldOutCalibration:
    """What is said of held-out labels among documents that hold no text of them.

    ``near`` (labels, classes): by the labels around; rows of other labels than ``held`` are nothing.
    """

    near: Floats
    calibration: PseudoLabelCalibration


def measure(run: Run, found: CrossValidation, documents: Documents, states: States) -> HeldOutCalibration:
    """Each label is told in the space of the fit that did not see it, by the labels that this fit saw, and by n-grams
    that learned from the documents there.

    Args:
        states: reads documents and labelled texts, (documents + labels, hidden), in the space of a fold's fit.

    Raises:
        EngineError.
    """
    examples, count, held = run.examples, len(documents), found.held
    said = _propagate_in_folds(examples, found, count, states)
    near = _of_held_out(found, {fold: of_all[count:] for fold, of_all in said.items()})
    wrong = near[held].argmax(axis=1) != examples.targets[held]
    error = drawn_error(wrong, float(np.mean([expected_error(of_all[:count]) for of_all in said.values()])))
    told = {fold: sharpened(of_all, error, of=of_all[:count]) for fold, of_all in said.items()}
    ngram = _ngrams(run, found, documents, {fold: of_all[:count] for fold, of_all in told.items()})
    calibrated = _of_held_out(found, {fold: of_all[count:] for fold, of_all in told.items()})
    share = fit_share(calibrated[held], ngram[held], examples.one_hot[held].astype(np.float64))
    # Error falls about as the root of labels, and the fit on all has more of them than those that leave some out.
    seen = float(np.mean([(found.folds != fold).mean() for fold in found.measured]))
    return HeldOutCalibration(near, PseudoLabelCalibration(error * seen**0.5, share))


def _of_held_out(found: CrossValidation, said: dict[int, Floats]) -> Floats:
    """Of each label what is said where its fold is held out, (labels, classes); ``said``: of all, by the fold."""
    held_out = np.zeros_like(next(iter(said.values())))
    for fold, of_labels in said.items():
        held_out[found.folds == fold] = of_labels[found.folds == fold]
    return held_out


def _propagate_in_folds(
    examples: Examples, found: CrossValidation, documents: int, states: States
) -> dict[int, Floats]:
    """What is said of documents and of the labels after them, by the fold that is held out."""
    said = dict[int, Floats]()
    for position, fold in enumerate(found.measured):
        known = examples.known(documents, found.folds != fold)
        said[fold] = propagate_labels(states(position), found.heads[position], known)
    return said


def _ngrams(run: Run, found: CrossValidation, documents: Documents, told: dict[int, Floats]) -> Floats:
    """What n-grams that learned from documents say of each held-out label, (labels, classes)."""
    fits = [ngram_fit_on(PseudoLabels(documents.texts, near), [], run.examples, run.settings) for near in told.values()]
    predicted = run.executor.predict_each(fits, "held-out labels by n-grams")
    return _of_held_out(found, dict(zip(told, predicted, strict=True)))
