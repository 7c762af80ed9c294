"""How far to believe what documents say: told by labels that were held out, and by how often the views disagree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tlnlp.model.combine import (
    Floats,
    expected_error,
    fit_share,
    pool_taught,
    sharpness_for,
    softmax,
)
from tlnlp.train.context import Run
from tlnlp.train.cross_validation import CrossValidation
from tlnlp.train.dataset import Examples
from tlnlp.train.label_spreading import label_documents
from tlnlp.train.pseudo_labels import Documents, Told, lesson_from_told

# Pooled states of documents and labelled texts in the space of the fit of one fold, by its position.
States = Callable[[int], NDArray[np.float64]]
# What spreading says by itself of how often it is wrong counts as so many held-out labels do.
OWN_WORD = 8
# The better the texts of a class are drawn together, the surer spreading is, and no longer with reason: a taught
# encoder is taken to be wrong so many times as often as spreading was before the first round.
TAUGHT_ERROR = 0.8
# Both views of a taught model, in which error falls as disagreement does (the two figures: tests/bench/RESULTS.md).
BOTH_ERROR = 0.9
# N-grams learn from more documents in a round than where their share was measured, and are the better for it: the share
# grows by this power of how many times as many (figures: tests/bench/RESULTS.md).
SHARE_POWER = 1 / 3
# An encoder that has learned from n-grams knows much of what they know.
TAUGHT_SHARE = 0.6


@dataclass(frozen=True)
class Trust:
    """``error``: the share of documents that spreading is expected to get wrong before the first round; ``share``: of
    n-grams beside it (``pool_taught``). ``first``: of the first round, once it was, the share of documents expected
    wrong, and that on which the views disagree."""

    error: float
    share: float
    first: tuple[float, float] | None = None

    def near(self, said: Floats) -> Floats:
        """Calibrated probabilities (documents, classes) from what spreading ``said``."""
        return sharpened(said, self.error if self.first is None else TAUGHT_ERROR * self.first[0])

    def weights(self, near: Floats, ngram: Floats) -> tuple[float, float]:
        """Of the two views in one calibrated guess."""
        if self.first is None:
            return pool_taught(near, ngram, self.share)
        error, disagreed = self.first
        less = min(1.0, disagreement(near, ngram) / max(disagreed, 1e-6))
        return pool_taught(near, ngram, TAUGHT_SHARE * self.share, BOTH_ERROR * less * error)

    def among(self, times: float) -> Trust:
        """Where n-grams learn from so many times as many documents as when ``share`` was measured."""
        return replace(self, share=self.share * times**SHARE_POWER)

    def after(self, near: Floats, ngram: Floats) -> Trust:
        """Of what is said after a round that began with these guesses."""
        return self if self.first else replace(self, first=(expected_error(near), disagreement(near, ngram)))


def sharpened(said: Floats, error: float, of: Floats | None = None) -> Floats:
    """What is ``said`` (texts, classes), at the power at which so many of those texts, or of others, are wrong."""
    return softmax(sharpness_for(said if of is None else of, error) * np.log(said))


def disagreement(near: Floats, ngram: Floats) -> float:
    """The share of documents of which two views (documents, classes) say different things.

    As error, so disagreement: how often two models differ on unlabelled texts follows how often they are wrong (Jiang
    et al. 2022). Views that teach each other are wrong together, so it is the change that is read here, not the level.
    """
    return float((near.argmax(axis=1) != ngram.argmax(axis=1)).mean())


@dataclass(frozen=True)
class HeldOut:
    """What is said of held-out labels among documents that hold no text of them.

    ``near`` (labels, classes): by the labels around; rows of other labels than ``held`` are nothing.
    """

    near: Floats
    trust: Trust


def measure(run: Run, found: CrossValidation, documents: Documents, states: States) -> HeldOut:
    """Each label is told in the space of the fit that did not see it, by the labels that this fit saw, and by n-grams
    that learned from the documents there.

    Args:
        states: reads documents and labelled texts, (documents + labels, hidden), in the space of a fold's fit.

    Raises:
        EngineError.
    """
    examples, count, held = run.examples, len(documents), found.held
    said = _told_in_folds(examples, found, count, states)
    near = _of_held_out(found, {fold: of_all[count:] for fold, of_all in said.items()})
    wrong = near[held].argmax(axis=1) != examples.targets[held]
    error = drawn_error(wrong, float(np.mean([expected_error(of_all[:count]) for of_all in said.values()])))
    told = {fold: sharpened(of_all, error, of=of_all[:count]) for fold, of_all in said.items()}
    ngram = _ngrams(run, found, documents, {fold: of_all[:count] for fold, of_all in told.items()})
    calibrated = _of_held_out(found, {fold: of_all[count:] for fold, of_all in told.items()})
    share = fit_share(calibrated[held], ngram[held], examples.one_hot[held].astype(np.float64))
    # Error falls about as the root of labels, and the fit on all has more of them than those that leave some out.
    seen = float(np.mean([(found.folds != fold).mean() for fold in found.measured]))
    return HeldOut(near, Trust(error * seen**0.5, share))


def drawn_error(wrong: NDArray[np.bool_], own: float) -> float:
    """The share of held-out labels (labels,) that are wrong, drawn towards what spreading says of ``own`` errors."""
    return float((wrong.sum() + OWN_WORD * own) / (len(wrong) + OWN_WORD))


def _of_held_out(found: CrossValidation, said: dict[int, Floats]) -> Floats:
    """Of each label what is said where its fold is held out, (labels, classes); ``said``: of all, by the fold."""
    held_out = np.zeros_like(next(iter(said.values())))
    for fold, of_labels in said.items():
        held_out[found.folds == fold] = of_labels[found.folds == fold]
    return held_out


def _told_in_folds(examples: Examples, found: CrossValidation, documents: int, states: States) -> dict[int, Floats]:
    """What is said of documents and of the labels after them, by the fold that is held out."""
    said = dict[int, Floats]()
    for position, fold in enumerate(found.measured):
        known = examples.known(documents, found.folds != fold)
        said[fold] = label_documents(states(position), found.heads[position], known)
    return said


def _ngrams(run: Run, found: CrossValidation, documents: Documents, told: dict[int, Floats]) -> Floats:
    """What n-grams that learned from documents say of each held-out label, (labels, classes)."""
    fits = [lesson_from_told(Told(documents.texts, near), [], run.examples, run.settings) for near in told.values()]
    predicted = run.executor.predict_each(fits, "held-out labels by n-grams")
    return _of_held_out(found, dict(zip(told, predicted, strict=True)))
