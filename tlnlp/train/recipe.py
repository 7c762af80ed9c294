"""The recipe: labels, and unlabelled documents if there are any, become two views and their calibrated combination."""

from __future__ import annotations

from dataclasses import replace

from tlnlp.data.pool import Pool
from tlnlp.model.calibration import fit_weights
from tlnlp.model.ngram import fit_ngram
from tlnlp.runs.progress import say
from tlnlp.train.candidates import Candidate, best_candidate
from tlnlp.train.co_training import LEAST_DOCUMENTS, co_train
from tlnlp.train.context import Run
from tlnlp.train.dataset import NO_TEXTS
from tlnlp.train.domain_shift import SAMPLED_DOCUMENTS, relevance
from tlnlp.train.frozen_encoder import (
    PretrainedEmbeddings,
    accuracy_by_names,
    embed_documents,
    embed_labels,
    names_contradicted,
)
from tlnlp.train.learned_model import LearnedModel
from tlnlp.train.tuned_constants import TUNED
from tlnlp.train.word_order import SAMPLED_DOCUMENTS as ORDERED_DOCUMENTS
from tlnlp.train.word_order import word_order


def learn(run: Run, pool: Pool | None) -> tuple[Run, LearnedModel]:
    """Train on the labels, and then on the documents if these come from the same source as the labelled texts.

    Returns:
        The run, without class names where the labels contradict them; and the trained model.

    Raises:
        EngineError: a piece of work failed.
        BudgetError: the next fit would cost more than the budget has left.
    """
    with run.ledger.stage("frozen_encoder"):
        frozen = embed_labels(run)
        run.time_budget.record_reading_throughput(frozen.tokens_per_s)
        run, frozen = _check_class_names(run, frozen)
        if pool is not None and not _is_same_source(run, frozen, pool):
            pool = None
    candidate = best_candidate(run, frozen, with_documents=pool is not None)
    co_trained = None
    if candidate.cross_validation is not None and pool is not None:
        co_trained = co_train(run, candidate, frozen, pool)
    return run, co_trained if co_trained is not None else _labels_only(run, candidate, frozen)


def _check_class_names(run: Run, frozen: PretrainedEmbeddings) -> tuple[Run, PretrainedEmbeddings]:
    """Return run and embeddings, without the class names if the labels contradict these."""
    examples = run.examples
    if not examples.learns_names(run.settings):
        return run, frozen
    right = accuracy_by_names(frozen, examples)
    run.ledger.results["class_names"] = {"right": round(right, 4)}
    accuracy = f"class names: the nearest class name is right for {right:.1%} of the labelled texts"
    if names_contradicted(right, examples):
        say(f"{accuracy}, less than chance: the names are ignored: describe the classes by class_descriptions")
        without_names = replace(examples, class_name_examples=NO_TEXTS)
        return replace(run, examples=without_names), replace(frozen, names=frozen.names[:0])
    say(accuracy)
    return run, frozen


def _is_same_source(run: Run, frozen: PretrainedEmbeddings, pool: Pool) -> bool:
    """Return whether the documents come from the same source as the labelled texts, with their words in order."""
    if len(pool.texts) < LEAST_DOCUMENTS or len(frozen.labels) < 2:
        return True  # Co-training itself refuses too few documents.
    if not _has_words_in_order(run, pool):
        return False
    states = embed_documents(run, "relevance", pool.texts[:SAMPLED_DOCUMENTS])
    measured = relevance(frozen.labels, states)
    run.ledger.results["relevance"] = {"further": round(measured.further, 4), "same_source": measured.same_source}
    figure = f"documents: {measured.further:.0%} are further from the labelled texts than those are from one another"
    if not measured.same_source:
        say(f"{figure}: their subject or language is another: the model learns from the labels alone")
        return False
    say(f"{figure} (50% is expected of the same source; documents from {TUNED.foreign:.0%} on are not used)")
    return True


def _has_words_in_order(run: Run, pool: Pool) -> bool:
    """Return whether the documents have their words in order; a sorted or shuffled export does not."""
    measured = word_order(run.examples.texts, pool.texts[:ORDERED_DOCUMENTS], run.settings.seed)
    run.ledger.results["word_order"] = vars(measured) | {"is_kept": measured.is_kept}
    if not measured.is_kept:
        say(
            "documents: their words have no order, or another one than those of the labelled texts (as in a bag of "
            "words, or where words were sorted): the model learns from the labels alone"
        )
    return measured.is_kept


def _labels_only(run: Run, candidate: Candidate, frozen: PretrainedEmbeddings) -> LearnedModel:
    settings, examples, fit, validation = run.settings, run.examples, candidate.fit, candidate.cross_validation
    ngram = fit_ngram(examples.texts, examples.targets.tolist(), len(examples.classes), settings.seed, c=TUNED.labels_c)
    if validation is None:
        return LearnedModel(fit.weights, ngram, (1.0, 0.0), fit.steps, None, frozen)
    held = validation.held
    combination = fit_weights(validation.encoder[held], validation.ngram[held], examples.targets[held])
    return LearnedModel(fit.weights, ngram, combination, fit.steps, validation, frozen)
