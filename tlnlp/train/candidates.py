"""What is learned from labels alone: a linear head on the encoder as it was pretrained, or an encoder that moves.

A strong encoder may know all that a few labels can say, and moving it then loses some of that; another has to move far
(the kinds of questions in TREC: 57 % of texts as pretrained, 87 % after 40 steps, 8 labels a class). Both are
cross-validated on the same parts of the labels, and the better one goes on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tlnlp.evaluate.metrics import paired_standard_error
from tlnlp.model.torch_encoder import load_encoder
from tlnlp.runs.progress import say
from tlnlp.train.context import FIT, Run
from tlnlp.train.cross_validation import (
    CURVE_FOLDS,
    CURVE_SHARES,
    FEW_LABELS_HALVED,
    CrossValidation,
    cross_validate,
    cross_validate_pretrained,
    fold_count,
)
from tlnlp.train.dataset import Examples
from tlnlp.train.fit.encoder_fit import FitResult
from tlnlp.train.fit.linear_head import LinearHead, with_head
from tlnlp.train.folds import FOLDS, measured_folds
from tlnlp.train.frozen_encoder import PretrainedEmbeddings, ProbeRecipe, fit_probe

# With documents to learn from, fits that move the encoder may take so much of the time that is left: the more, the more
# labels the encoder gets wrong as it was pretrained, and at most this.
MOVING_SHARE_AN_ERROR, MOVING_SHARE = 1.5, 0.4
# An encoder that moves nearly always gains (AG News, 8 labels a class: 79 to 86 % of texts), and 32 labels rarely show
# it: that it loses must be shown by so many standard errors.
DOUBT = 1.0


@dataclass(frozen=True)
class Candidate:
    """``fit``: of all labels; ``found``: its cross-validation, None where too few labels could be held out."""

    fit: FitResult
    found: CrossValidation | None


def best_candidate(run: Run, frozen: PretrainedEmbeddings, *, with_documents: bool) -> Candidate:
    """Fit both kinds of model where there is time for it, and return the better one.

    Raises:
        EngineError.
        BudgetError: the rest would cost more than the budget has left.
    """
    parts = fold_count(len(run.examples.texts), with_documents=with_documents)
    still, moves = cross_validate_pretrained(run.examples, run.settings.seed, frozen), run.settings.training.moves
    if still is not None and moves == "never":
        return _pretrained_candidate(run, frozen, still)
    if still is not None and with_documents and moves == "auto":
        seconds, left_s = _tuning_s(run, parts), run.time_budget.left_s
        wrong = 1.0 - float(still.hits(run.examples.targets).mean())
        allowed_s = min(MOVING_SHARE, MOVING_SHARE_AN_ERROR * wrong) * left_s
        note = run.artifacts.note("moving", lambda: {"in_time": seconds <= allowed_s})
        if not note["in_time"]:
            say(
                f"the encoder stays as pretrained at first: moving it on labels would take about {seconds:.0f} s of "
                f"the {left_s:.0f} s that are left"
            )
            return _pretrained_candidate(run, frozen, still)
    moved = _tuned_candidate(run, parts)
    if still is None or moved.found is None or moves == "always":
        return moved
    beside = still if parts == FOLDS else cross_validate_pretrained(run.examples, run.settings.seed, frozen, parts)
    if beside is None or _tuned_is_better(run, moved.found, beside):
        return moved
    return _pretrained_candidate(run, frozen, still)


def _tuned_is_better(run: Run, moved: CrossValidation, still: CrossValidation) -> bool:
    """Whether the encoder that moved is right about as many of the held-out labels, or about so few less as chance is.

    Fits of the folds see half of the labels, which tells an encoder that moves least of where to go.
    """
    hits, hits_before = moved.hits(run.examples.targets), still.hits(run.examples.targets)
    right, before = float(hits.mean()), float(hits_before.mean())
    better = right + DOUBT * paired_standard_error(hits, hits_before) >= before
    run.ledger.results["candidates"] = {"moved": round(right, 4), "as_pretrained": round(before, 4)}
    say(
        f"held-out labels right: {right:.1%} by an encoder that moved, {before:.1%} as it was pretrained; "
        f"{'the former' if better else 'the latter'} goes on"
    )
    return better


def _pretrained_candidate(run: Run, frozen: PretrainedEmbeddings, found: CrossValidation) -> Candidate:
    """The pretrained encoder under the head that cross-validation prefers."""
    fit = as_pretrained(run.examples, fit_probe(frozen, run.examples, found.recipe or ProbeRecipe()))
    run.ledger.results["fit"] = fit.to_json()
    return Candidate(fit, found)


def as_pretrained(examples: Examples, head: LinearHead | None) -> FitResult:
    """The encoder as it was pretrained under a head, as a fit of no steps."""
    source = examples.reader.encoder
    how = source.conventions
    model = load_encoder(source.name, len(examples.classes), how.pooling, 0.0, seed=0, normalise=how.normalise)
    weights = {name: tensor.detach() for name, tensor in model.state_dict().items()}
    return FitResult(with_head(weights, head), np.zeros((0, len(examples.classes))), 0)


def _tuned_candidate(run: Run, parts: int) -> Candidate:
    """Encoders that learn from labels: of each fold, and of all labels."""
    run.budget.refuse(0.0, "before the first fit")
    settings, examples = run.settings, run.examples
    whole = examples.fit(settings, np.arange(len(examples.texts)), np.zeros(0, dtype=np.int64), settings.seed)
    small = not run.executor.needs_job(whole)
    with run.ledger.stage("cross_validation"):
        found, others = cross_validate(run, parts, [whole] if small else [])
    if found is not None:
        _record_throughput(run, found, whole.learned_tokens / whole.steps)
    with run.ledger.stage("fit"):
        expected = sum(one.seconds for one in found.fits) / len(found.fits) if found is not None else 0.0
        run.budget.refuse(expected, "before the fit on all labels")
        result = others[0] if others else run.fit(FIT, whole, "training")
    run.ledger.results["fit"] = result.to_json()
    if result.rate > 0 and not others:
        run.time_budget.record_job_overhead(result.seconds - result.steps / result.rate)
        # A job like those that learn from documents says more of their pace than fits side by side.
        run.time_budget.record_label_throughput(result.rate * whole.learned_tokens / whole.steps)
    return Candidate(result, found)


def _tuning_s(run: Run, parts: int) -> float:
    """Seconds that fits of the folds and of all labels would take, by how fast the labels were read."""
    examples, settings = run.examples, run.settings
    everything = np.arange(len(examples.texts))
    tokens = examples.fit(settings, everything, everything[:0], settings.seed).learned_tokens
    return (len(measured_folds(len(everything), parts)) + 1) * tokens / run.time_budget.learning


def _record_throughput(run: Run, found: CrossValidation, tokens_a_step: float) -> None:
    places = run.executor.places
    rate = float(np.mean([fit.rate for fit in found.fits])) * min(len(found.fits), places)
    run.time_budget.record_label_throughput(rate * tokens_a_step)
    if len(run.examples.texts) > FEW_LABELS_HALVED:
        # The learning curve of the report: so many fits more, each of so many of the steps.
        seconds = float(np.mean([fit.seconds for fit in found.fits]))
        run.time_budget.reserve(sum(CURVE_SHARES) * CURVE_FOLDS * seconds / places)
