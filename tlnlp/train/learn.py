"""From labels, and documents without labels where there are any, to two views and one calibrated combination."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tlnlp.data.pool import Pool
from tlnlp.model.combine import fit_weights
from tlnlp.model.ngram import NgramView, fit_ngram
from tlnlp.progress import say
from tlnlp.train import ray_job
from tlnlp.train.crossval import CURVE_FOLDS, CURVE_SHARES, LABELS_C, CrossValidation, cross_validate
from tlnlp.train.examples import NO_TEXTS
from tlnlp.train.frozen import contradicted, read_frozen, right_by_names
from tlnlp.train.ray_job import FitResult
from tlnlp.train.rounds import Rounds
from tlnlp.train.run import FIT, Run


@dataclass(frozen=True)
class Learned:
    """``weights``: the encoder view's tensors; ``combination``: weights of encoder and n-gram view.

    ``found``: the cross-validation, None where too few labels could be held out; ``rounds``: what each step of learning
    came to, for the report; ``documents``: the texts read in them; ``documents_read``: how many in all, some again.
    """

    weights: dict[str, Any]
    ngram: NgramView
    combination: tuple[float, float]
    steps: int
    found: CrossValidation | None
    rounds: tuple[dict[str, Any], ...] = ()
    documents: tuple[str, ...] = ()
    documents_read: int = 0


def acquainted(run: Run) -> Run:
    """The same run, its fits without what classes are called if the labels contradict that. Raises EngineError."""
    examples = run.examples
    if not examples.learns_names(run.settings):
        return run
    with run.ledger.stage("class_names"):
        right = right_by_names(read_frozen(examples, run.settings, run.kept), examples)
    run.ledger.results["class_names"] = {"right": round(right, 4)}
    told = f"class names: as pretrained, the encoder tells {right:.1%} of labelled texts by them"
    if contradicted(right, examples):
        say(f"{told}, fewer than chance; names are left aside (class_descriptions says what a class is)")
        return replace(run, examples=replace(examples, named=NO_TEXTS))
    say(told)
    return run


def learn(run: Run, pool: Pool | None) -> Learned:
    """Raises EngineError; BudgetError: the rest would cost more than the budget has left."""
    with run.ledger.stage("cross_validation"):
        run.budget.refuse(0.0, "before the first fit")
        found = cross_validate(run.examples, run.settings, run.kept)
    if found is not None:
        _note_pace(run, found)
    with run.ledger.stage("fit"):
        fit = _fit(run, found)
    taught = _teach(run, found, fit, pool) if found is not None and pool is not None else None
    return taught if taught is not None else _labels_alone(run, found, fit)


def _note_pace(run: Run, found: CrossValidation) -> None:
    places = ray_job.places(run.settings.ray)
    rate = float(np.mean([fit.rate for fit in found.fits])) * min(len(found.fits), places)
    run.pace.has_learned_labels(rate * _tokens_a_step(run))
    # The learning curve of the report: so many fits more, each of so many of the steps.
    run.pace.reserve(sum(CURVE_SHARES) * CURVE_FOLDS * float(np.mean([fit.seconds for fit in found.fits])) / places)


def _fit(run: Run, found: CrossValidation | None) -> FitResult:
    """On all labels."""
    settings, examples = run.settings, run.examples
    expected = sum(one.seconds for one in found.fits) / len(found.fits) if found is not None else 0.0
    run.budget.refuse(expected, "before the fit on all labels")
    fit = examples.fit(settings, np.arange(len(examples.texts)), np.zeros(0, dtype=np.int64), settings.seed)
    result = run.fit(FIT, fit, "training")
    run.ledger.results["fit"] = result.to_json()
    if result.rate > 0:
        run.pace.has_run_a_job(result.seconds - result.steps / result.rate)
        # A job like those that learn from documents says more of their pace than fits side by side.
        run.pace.has_learned_labels(result.rate * _tokens_a_step(run))
    return result


def _tokens_a_step(run: Run) -> float:
    recipe, lengths = run.settings.training, run.examples.whole.lengths
    return float(np.minimum(lengths, recipe.crop_tokens).mean()) * recipe.batch_size


def _labels_alone(run: Run, found: CrossValidation | None, fit: FitResult) -> Learned:
    settings, examples = run.settings, run.examples
    ngram = fit_ngram(examples.texts, examples.targets.tolist(), len(examples.classes), settings.seed, c=LABELS_C)
    if found is None:
        return Learned(fit.weights, ngram, (1.0, 0.0), fit.steps, None)
    combination = fit_weights(found.encoder[found.held], found.ngram[found.held], examples.targets[found.held])
    return Learned(fit.weights, ngram, combination, fit.steps, found)


def _teach(run: Run, found: CrossValidation, fit: FitResult, pool: Pool) -> Learned | None:
    rounds = Rounds(run, found, fit, pool)
    taught = rounds.teach()
    if taught is None:
        return None
    read = sum(told["documents"] for told in rounds.told)
    told = tuple(rounds.told)
    # Rounds take documents from the beginning of the pool, one after another.
    documents = pool.texts[:read]
    return Learned(taught.weights, taught.ngram, taught.combination, taught.steps, found, told, documents, read)
