"""From labels, and documents without labels where there are any, to two views and one calibrated combination."""

from __future__ import annotations

from dataclasses import replace

from tlnlp.data.pool import Pool
from tlnlp.model.combine import fit_weights
from tlnlp.model.ngram import fit_ngram
from tlnlp.runs.progress import say
from tlnlp.train.candidates import Candidate, best_candidate
from tlnlp.train.co_training import LEAST_DOCUMENTS, teach
from tlnlp.train.context import Run
from tlnlp.train.cross_validation import LABELS_C
from tlnlp.train.dataset import NO_TEXTS
from tlnlp.train.domain_shift import LOOKED_AT, relevance
from tlnlp.train.frozen_encoder import (
    PretrainedEmbeddings,
    accuracy_by_names,
    embed_documents,
    embed_labels,
    names_contradicted,
)
from tlnlp.train.learned import Learned


def learn(run: Run, pool: Pool | None) -> tuple[Run, Learned]:
    """Learn from the labels, then from the documents if they are of the same source.

    Returns the run as it went on: its fits do without class names where the labels contradict them.

    Raises:
        EngineError.
        BudgetError: the rest would cost more than the budget has left.
    """
    with run.ledger.stage("frozen_encoder"):
        frozen = embed_labels(run)
        run.time_budget.record_reading_throughput(frozen.tokens_per_s)
        run, frozen = _check_class_names(run, frozen)
        if pool is not None and not _is_same_source(run, frozen, pool):
            pool = None
    candidate = best_candidate(run, frozen, with_documents=pool is not None)
    taught = teach(run, candidate, frozen, pool) if candidate.found is not None and pool is not None else None
    return run, taught if taught is not None else _labels_only(run, candidate, frozen)


def _check_class_names(run: Run, frozen: PretrainedEmbeddings) -> tuple[Run, PretrainedEmbeddings]:
    """The same run, its fits without what classes are called if the labels contradict that."""
    examples = run.examples
    if not examples.learns_names(run.settings):
        return run, frozen
    right = accuracy_by_names(frozen, examples)
    run.ledger.results["class_names"] = {"right": round(right, 4)}
    told = f"class names: as pretrained, the encoder tells {right:.1%} of labelled texts by them"
    if names_contradicted(right, examples):
        say(f"{told}, fewer than chance; names are left aside (class_descriptions says what a class is)")
        return replace(run, examples=replace(examples, named=NO_TEXTS)), replace(frozen, names=frozen.names[:0])
    say(told)
    return run, frozen


def _is_same_source(run: Run, frozen: PretrainedEmbeddings, pool: Pool) -> bool:
    """Whether the documents come from where the labelled texts come from."""
    if len(pool.texts) < LEAST_DOCUMENTS or len(frozen.labels) < 2:
        return True  # Too few are dealt with later.
    states = embed_documents(run, "relevance", pool.texts[:LOOKED_AT])
    found = relevance(frozen.labels, states)
    run.ledger.results["relevance"] = {"further": round(found.further, 4), "same_source": found.same_source}
    told = f"documents: {found.further:.0%} are further from the labelled texts than those are from one another"
    if not found.same_source:
        say(f"{told}; they are of another subject or language, so the labels alone are learned from")
        return False
    say(f"{told} (50%: as labelled texts are; from 90% on they would not be learned from)")
    return True


def _labels_only(run: Run, candidate: Candidate, frozen: PretrainedEmbeddings) -> Learned:
    settings, examples, fit, found = run.settings, run.examples, candidate.fit, candidate.found
    ngram = fit_ngram(examples.texts, examples.targets.tolist(), len(examples.classes), settings.seed, c=LABELS_C)
    if found is None:
        return Learned(fit.weights, ngram, (1.0, 0.0), fit.steps, None, frozen)
    combination = fit_weights(found.encoder[found.held], found.ngram[found.held], examples.targets[found.held])
    return Learned(fit.weights, ngram, combination, fit.steps, found, frozen)
