"""The two candidates for the labels-only model: a linear head on the pretrained encoder, or a tuned encoder.

A strong encoder may already separate the classes, and tuning it on few labels makes it worse. Another must be tuned
(TREC, 8 labels a class: 57 % of texts right as pretrained, 87 % after 40 steps). Both candidates are cross-validated on
the same folds, and the better one is used.
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
from tlnlp.train.tuned_constants import TUNED


@dataclass(frozen=True)
class Candidate:
    """A labels-only model: the fit to all labels, and its cross-validation (None with too few labels for it)."""

    fit: FitResult
    cross_validation: CrossValidation | None


def best_candidate(run: Run, frozen: PretrainedEmbeddings, *, with_documents: bool) -> Candidate:
    """Fit both candidates where time allows, and return the better one.

    Raises:
        EngineError: a fit failed.
        BudgetError: the next fit would cost more than the budget has left.
    """
    parts = fold_count(len(run.examples.texts), with_documents=with_documents)
    pretrained, moves = cross_validate_pretrained(run.examples, run.settings.seed, frozen), run.settings.training.moves
    if pretrained is not None and moves == "never":
        return _pretrained_candidate(run, frozen, pretrained)
    if pretrained is not None and with_documents and moves == "auto":
        seconds, left_s = _tuning_s(run, parts), run.time_budget.left_s
        wrong = 1.0 - float(pretrained.hits(run.examples.targets).mean())
        allowed_s = min(TUNED.moving_share, TUNED.moving_share_an_error * wrong) * left_s
        note = run.resume_cache.note("moving", lambda: {"in_time": seconds <= allowed_s})
        if not note["in_time"]:
            say(
                f"the encoder is not tuned on labels: tuning would take about {seconds:.0f} s of the {left_s:.0f} s "
                "left: co-training starts from the pretrained encoder"
            )
            return _pretrained_candidate(run, frozen, pretrained)
    tuned = _tuned_candidate(run, parts)
    if pretrained is None or tuned.cross_validation is None or moves == "always":
        return tuned
    # Both candidates must be compared on the same folds.
    same_folds = (
        pretrained if parts == FOLDS else cross_validate_pretrained(run.examples, run.settings.seed, frozen, parts)
    )
    if same_folds is None or _tuned_is_better(run, tuned.cross_validation, same_folds):
        return tuned
    return _pretrained_candidate(run, frozen, pretrained)


def _tuned_is_better(run: Run, tuned: CrossValidation, pretrained: CrossValidation) -> bool:
    """Return whether the tuned encoder is as accurate on held-out labels, or less accurate by no more than chance.

    The tuned encoder gets the benefit of the doubt, because fits of the folds see only a part of the labels, and tuning
    needs labels most.
    """
    hits, hits_before = tuned.hits(run.examples.targets), pretrained.hits(run.examples.targets)
    right, before = float(hits.mean()), float(hits_before.mean())
    better = right + TUNED.doubt * paired_standard_error(hits, hits_before) >= before
    run.ledger.results["candidates"] = {"moved": round(right, 4), "as_pretrained": round(before, 4)}
    say(
        f"accuracy on held-out labels: {right:.1%} by the tuned encoder, {before:.1%} by the pretrained encoder: the "
        f"{'tuned' if better else 'pretrained'} encoder is used"
    )
    return better


def _pretrained_candidate(run: Run, frozen: PretrainedEmbeddings, validation: CrossValidation) -> Candidate:
    """Return the pretrained encoder with the head that cross-validation prefers."""
    fit = as_pretrained(run.examples, fit_probe(frozen, run.examples, validation.recipe or ProbeRecipe()))
    run.ledger.results["fit"] = fit.to_json()
    return Candidate(fit, validation)


def as_pretrained(examples: Examples, head: LinearHead | None) -> FitResult:
    """Return the pretrained encoder with this head, as a fit of 0 steps."""
    source = examples.reader.encoder
    how = source.conventions
    model = load_encoder(source.name, len(examples.classes), how.pooling, 0.0, seed=0, normalise=how.normalise)
    weights = {name: tensor.detach() for name, tensor in model.state_dict().items()}
    return FitResult(with_head(weights, head), np.zeros((0, len(examples.classes))), 0)


def _tuned_candidate(run: Run, parts: int) -> Candidate:
    """Tune the encoder on labels: once for each fold, and once on all labels."""
    run.budget.check(0.0, "before the first fit")
    settings, examples = run.settings, run.examples
    whole = examples.fit(settings, np.arange(len(examples.texts)), np.zeros(0, dtype=np.int64), settings.seed)
    small = not run.executor.needs_job(whole)
    with run.ledger.stage("cross_validation"):
        validation, others = cross_validate(run, parts, [whole] if small else [])
    if validation is not None:
        _record_throughput(run, validation, whole.learned_tokens / whole.steps)
    with run.ledger.stage("fit"):
        expected = sum(one.seconds for one in validation.fits) / len(validation.fits) if validation is not None else 0.0
        run.budget.check(expected, "before the fit on all labels")
        result = others[0] if others else run.fit(FIT, whole, "training")
    run.ledger.results["fit"] = result.to_json()
    if result.rate > 0 and not others:
        run.time_budget.record_job_overhead(result.seconds - result.steps / result.rate)
        # Fits on documents are jobs like this one, so it predicts their throughput better than fits side by side.
        run.time_budget.record_label_throughput(result.rate * whole.learned_tokens / whole.steps)
    return Candidate(result, validation)


def _tuning_s(run: Run, parts: int) -> float:
    """Return the seconds that tuning would take, fits of the folds included, at the estimated throughput."""
    examples, settings = run.examples, run.settings
    everything = np.arange(len(examples.texts))
    tokens = examples.fit(settings, everything, everything[:0], settings.seed).learned_tokens
    return (len(measured_folds(len(everything), parts)) + 1) * tokens / run.time_budget.training_tokens_per_s


def _record_throughput(run: Run, validation: CrossValidation, tokens_a_step: float) -> None:
    """Record the throughput of the fits of the folds, and reserve time for the learning curve."""
    places = run.executor.places
    rate = float(np.mean([fit.rate for fit in validation.fits])) * min(len(validation.fits), places)
    run.time_budget.record_label_throughput(rate * tokens_a_step)
    if len(run.examples.texts) > TUNED.few_labels_halved:
        seconds = float(np.mean([fit.seconds for fit in validation.fits]))
        run.time_budget.reserve(sum(CURVE_SHARES) * CURVE_FOLDS * seconds / places)
