"""Co-training within a time budget: plan the rounds, run them one by one, and stop where documents do not help."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlnlp.data.pool import Pool
from tlnlp.evaluate.metrics import most_standard_error, paired_standard_error
from tlnlp.model.combine import Floats, combine
from tlnlp.model.ngram import NgramView
from tlnlp.model.tokenize import TokenIds
from tlnlp.runs.progress import say
from tlnlp.train.candidates import Candidate
from tlnlp.train.co_training_round import (
    RoundPredictions,
    final_ngram_view,
    fit_student,
    predict_round,
    round_summary,
)
from tlnlp.train.context import Run
from tlnlp.train.cross_validation import CrossValidation
from tlnlp.train.document_embeddings import embed_once, with_reading_precision
from tlnlp.train.fit.encoder_fit import FitResult
from tlnlp.train.frozen_encoder import PretrainedEmbeddings
from tlnlp.train.held_out_calibration import FoldEmbeddings, calibrate_on_held_out
from tlnlp.train.learned_model import LearnedModel
from tlnlp.train.pseudo_label_calibration import PseudoLabelCalibration
from tlnlp.train.pseudo_labels import Documents, PseudoLabels, tokenize_documents
from tlnlp.train.time_budget import Plan, beside_reading_s
from tlnlp.train.tuned_constants import TUNED

# Co-training needs at least this many documents.
LEAST_DOCUMENTS = 50
# Share of the remaining time that the calibration on held-out labels may take.
HELD_OUT_SHARE = 0.08
# Documents for the calibration of the n-gram view, where the encoder stays as pretrained.
MEASURED_DOCUMENTS = 2_000
# Texts that the average length of the pool is estimated from.
SAMPLED = 500


@dataclass(frozen=True)
class CoTrainedViews:
    """The two views after the last round.

    Fields:
        weights: tensors of the encoder view.
        ngram: the n-gram view, trained on the encoder's pseudo-labels.
        combination: weights (encoder, ngram) of the log-linear pool.
        steps: training steps of all encoders together.
        pseudo_labels: see ``RoundPredictions.by_both``.
    """

    weights: dict[str, Any]
    ngram: NgramView
    combination: tuple[float, float]
    steps: int
    pseudo_labels: PseudoLabels


def co_train(run: Run, candidate: Candidate, frozen: PretrainedEmbeddings, pool: Pool) -> LearnedModel | None:
    """Return the model that co-training makes of a candidate; None where the model must learn from labels alone.

    Raises:
        EngineError: a piece of work failed.
        BudgetError: the next encoder would cost more than the budget has left.
    """
    run = with_reading_precision(run, pool.texts)
    rounds = CoTraining(run, candidate.cross_validation, candidate.fit, pool)
    views = rounds.train()
    if views is None:
        return None
    read = sum(report["documents"] for report in rounds.reports)
    # Rounds take documents from the beginning of the pool, one after another.
    documents = pool.texts[:read]
    return LearnedModel(
        views.weights,
        views.ngram,
        views.combination,
        views.steps,
        candidate.cross_validation,
        frozen,
        tuple(rounds.reports),
        documents,
        read,
        views.pseudo_labels,
    )


@dataclass
class CoTraining:
    """The rounds of one run.

    Fields:
        cross_validation: the labels-only model that documents must not make worse; None with too few labels for it.
        labels_fit: the encoder fitted to all labels, the teacher of the first round.
        reports: the summary of each round, for the ledger and the report.
    """

    run: Run
    cross_validation: CrossValidation | None
    labels_fit: FitResult
    pool: Pool
    reports: list[dict[str, Any]] = field(default_factory=list)

    def train(self) -> CoTrainedViews | None:
        """Run all rounds; None where time or documents are too few, or where documents do not improve the model.

        Raises:
            EngineError: a piece of work failed.
            BudgetError: the next encoder would cost more than the budget has left.
        """
        plan = self._plan()
        if not plan.documents:
            return None
        run, weights, steps = self.run, self.labels_fit.weights, self.labels_fit.steps
        documents = self._documents(0, plan.documents)
        with run.ledger.stage("held_out"):
            calibration = self._calibrate(documents)
        if calibration is None:
            return None
        pseudo_labels: PseudoLabels | None = None
        for number in range(1, plan.rounds + 1):
            with run.ledger.stage(f"round_{number}"):
                predictions = predict_round(run, number, weights, documents, pseudo_labels, calibration)
                self._report_round(number, predictions)
                if number == 1 and not self._documents_help(predictions):
                    return None
                calibration = calibration.after(predictions.propagated, predictions.ngram)
                student = self._fit_student(number, weights, predictions, plan.rounds)
                weights, steps, pseudo_labels = student.weights, steps + student.steps, predictions.pseudo_labels
                count = plan.documents if number < plan.rounds else self._last_documents(plan)
                documents = self._documents(number * plan.documents, count)
        with run.ledger.stage("last_guesses"):
            predictions = predict_round(run, plan.rounds + 1, weights, documents, pseudo_labels, calibration)
            self._report_round(plan.rounds + 1, predictions)
            return self._finish(weights, predictions, steps)

    def _last_documents(self, plan: Plan) -> int:
        """Return how many documents the last encoder reads: fewer than planned if the machine has become slower."""
        count = self.run.time_budget.last_documents(plan, self._read_tokens)
        return int(self.run.resume_cache.note("last-documents", lambda: {"documents": count})["documents"])

    def _plan(self) -> Plan:
        settings, texts = self.run.settings.teaching, self.pool.texts
        if len(texts) < LEAST_DOCUMENTS:
            say(
                f"too few unlabelled documents ({len(texts)} of at least {LEAST_DOCUMENTS}): the model learns from the "
                "labels alone"
            )
            return Plan(0, 0)
        crop_tokens = self._mean_tokens(settings.crop_tokens)
        limits = settings.max_rounds, settings.max_documents

        def planned() -> dict[str, Any]:
            time_budget = self.run.time_budget
            plan = time_budget.plan(len(texts), self._read_tokens, crop_tokens, *limits)
            return vars(plan) | {"tokens_per_s": round(time_budget.training_tokens_per_s, 1)}

        note = self.run.ledger.results["plan"] = self.run.resume_cache.note("plan", planned)
        plan = Plan(int(note["rounds"]), int(note["documents"]))
        say(plan.describe(len(texts)))
        return plan

    def _fit_student(
        self, number: int, teacher: dict[str, Any], predictions: RoundPredictions, rounds: int
    ) -> FitResult:
        settings, time_budget = self.run.settings.teaching, self.run.time_budget
        crop_tokens = self._mean_tokens(settings.crop_tokens)
        # After this encoder, as many documents must be embedded again, and n-gram views fitted to them.
        documents = len(predictions.documents)
        afterwards_s = float(predictions.documents.cut.lengths.sum()) / time_budget.reading_tokens_per_s
        afterwards_s += beside_reading_s((number + 1) * documents)
        crops = time_budget.crops(rounds - number + 1, afterwards_s, crop_tokens, documents)
        self.run.budget.check(
            crops * crop_tokens / time_budget.training_tokens_per_s, f"before the encoder of round {number}"
        )
        result = fit_student(self.run, number, teacher, predictions, crops)
        self.run.ledger.results[f"student_{number}"] = result.to_json()
        time_budget.record_throughput(result.rate * settings.batch_size * crop_tokens)
        return result

    def _calibrate(self, documents: Documents) -> PseudoLabelCalibration | None:
        """Calibrate pseudo-labels on held-out labels; None where they are clearly worse than the labels-only model.

        A tuned encoder has a fit per fold, and each must embed the documents, so only some of them are used. A
        pretrained encoder embeds all documents once, for this step and for the first round.
        """
        run, validation = self.run, self.cross_validation
        if validation is None:
            return PseudoLabelCalibration(TUNED.unmeasured_error, 1.0)
        if validation.tuned:
            share_s = HELD_OUT_SHARE * run.time_budget.left_s / len(validation.fits)
            tokens_a_document = max(1.0, float(documents.cut.lengths.mean()))
            count = int(share_s * run.time_budget.reading_tokens_per_s / tokens_a_document)
        else:
            count = MEASURED_DOCUMENTS
        note = run.resume_cache.note(
            "held-out", lambda: {"documents": min(max(count, LEAST_DOCUMENTS), len(documents))}
        )
        some = documents.first(int(note["documents"]))
        embeddings = self._fold_embeddings(validation, documents, len(some))
        measured = calibrate_on_held_out(run, validation, some, embeddings)
        hits, hits_before = self._hits(validation, measured.propagated), self._hits(validation, validation.encoder)
        right, before = float(hits.mean()), float(hits_before.mean())
        say(
            f"accuracy on held-out labels: {before:.1%} from labels alone, {right:.1%} by label spreading over "
            f"{len(some)} documents"
        )
        calibration = measured.calibration.among(len(documents) / len(some))
        expected, share = 1 - calibration.error, calibration.share
        figures = {"labels_alone": before, "among_documents": right, "expected": expected, "ngram_share": share}
        run.ledger.results["held_out"] = {name: round(figure, 4) for name, figure in figures.items()}
        if right + TUNED.evidence * paired_standard_error(hits, hits_before) < before:
            say("label spreading over the documents is clearly less accurate: the model learns from the labels alone")
            return None
        say(f"weight of n-grams trained on pseudo-labels: {share:.2f} of the naive Bayes weight")
        return calibration

    def _fold_embeddings(self, validation: CrossValidation, documents: Documents, count: int) -> FoldEmbeddings:
        """Return a function that embeds the first documents and the labelled texts with the encoder of a fold."""
        run, labels = self.run, self.run.examples.cut
        if validation.tuned:
            texts = documents.first(count).cut + labels
            what = "calibration on held-out labels"
            return lambda fold: embed_once(run, f"fold-{fold}", validation.fits[fold].weights, texts, what)
        states = embed_once(run, "states-1", None, documents.cut + labels, "reading documents")
        some = np.vstack([states[:count], states[len(documents) :]])
        return lambda fold: some

    def _report_round(self, number: int, predictions: RoundPredictions) -> None:
        what = "labels alone" if number == 1 else f"student of round {number - 1}"
        seconds = self.run.time_budget.spent_s - sum(report["seconds"] for report in self.reports)
        report = round_summary(number, predictions, measured=self.cross_validation is not None) | {
            "what": what,
            "seconds": round(seconds, 1),
        }
        self.reports.append(report)
        self.run.ledger.results[f"guesses_{number}"] = report

    def _documents_help(self, predictions: RoundPredictions) -> bool:
        """Return whether n-grams trained on documents know the labels about as well as n-grams trained on labels."""
        if self.cross_validation is None:
            return True
        by_labels = float(self._hits(self.cross_validation, self.cross_validation.ngram).mean())
        by_documents = float(self._hits(self.cross_validation, predictions.ngram_of_labels).mean())
        say(f"accuracy of n-grams: {by_labels:.1%} trained on labels, {by_documents:.1%} trained on documents")
        if by_documents + self._tolerance(self.cross_validation) >= by_labels:
            return True
        say(
            "n-grams trained on the unlabelled documents are clearly less accurate: the model learns from the labels "
            "alone"
        )
        return False

    def _finish(self, weights: dict[str, Any], predictions: RoundPredictions, steps: int) -> CoTrainedViews | None:
        """Return the views of the last round; None where they are clearly worse on labels than the first encoder."""
        combined = combine(predictions.encoder_of_labels, predictions.ngram_of_labels, *predictions.weights)
        if self.cross_validation is not None:
            right = float((combined.argmax(axis=1) == self.run.examples.targets).mean())
            before = float(self._hits(self.cross_validation, self.cross_validation.encoder).mean())
            if right + self._tolerance(self.cross_validation) < before:
                say("co-training made the model clearly less accurate: the model learns from the labels alone")
                return None
        ngram = final_ngram_view(self.run, predictions)
        return CoTrainedViews(predictions.with_head(weights), ngram, predictions.weights, steps, predictions.by_both)

    def _hits(self, validation: CrossValidation, probabilities: Floats) -> NDArray[np.bool_]:
        """Return which held-out labels are right, given probabilities (labels, classes) of all labels."""
        targets = self.run.examples.targets[validation.held]
        return np.asarray(probabilities[validation.held].argmax(axis=1) == targets)

    def _tolerance(self, validation: CrossValidation) -> float:
        """Return how far an accuracy on the held-out labels may fall by chance."""
        return most_standard_error(len(validation.held))

    def _documents(self, start: int, count: int) -> Documents:
        """Return ``count`` documents of the pool; after its end, go on at its beginning."""
        texts = [self.pool.texts[i % len(self.pool.texts)] for i in range(start, start + count)]
        return tokenize_documents(texts, self.run.examples, self.run.settings)

    @property
    def _read_tokens(self) -> float:
        """Return the mean tokens of a document as it is embedded."""
        return self._mean_tokens(min(self.run.settings.teaching.read_tokens, self.run.examples.reader.max_length))

    def _mean_tokens(self, limit: int) -> float:
        """Return the mean length of the pool's documents, each cut to ``limit`` tokens."""
        return float(np.minimum(self._lengths, limit).mean())

    @cached_property
    def _lengths(self) -> NDArray[np.int64]:
        reader = self.run.examples.reader
        return TokenIds.of(reader.whole.encode(reader.prepare(self.pool.texts[:SAMPLED]))).lengths
