"""The rounds of teaching in a time budget: planned by the pace of the machine, told one by one."""

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
    embed_once,
    final_ngram_view,
    fit_student,
    predict_round,
    round_summary,
)
from tlnlp.train.context import Run
from tlnlp.train.cross_validation import CrossValidation
from tlnlp.train.fit.encoder_fit import FitResult
from tlnlp.train.frozen_encoder import PretrainedEmbeddings
from tlnlp.train.held_out_calibration import States, measure
from tlnlp.train.learned import Learned
from tlnlp.train.pseudo_label_calibration import PseudoLabelCalibration
from tlnlp.train.pseudo_labels import Documents, PseudoLabels, tokenize_documents
from tlnlp.train.time_budget import Plan, beside_reading_s

# Fewer documents than this are not learned from.
LEAST_DOCUMENTS = 50
# Of the time that is left, so much goes into measuring on held-out labels what documents tell.
HELD_OUT_SHARE = 0.08
# Documents of the same source nearly always teach: that they do not must be shown by so many standard errors. Two of
# them refused good documents in a draw of 200 IMDb labels (87.0 and 82.0 % of held-out labels right), and lost three
# points by it.
EVIDENCE = 3.3
# Where the encoder stays as pretrained, n-grams of each fold learn from so many documents to be measured.
MEASURED_DOCUMENTS = 2_000
# Without labels to measure it by: the share of documents that class names tell wrong, where they tell anything (IMDb 10
# percent, AG News 28).
UNMEASURED_ERROR = 0.2
# Texts whose lengths stand for those of the pool.
SAMPLED = 500


@dataclass(frozen=True)
class CoTrainedViews:
    """The last encoder's tensors, the n-gram view that learned from its guesses, weights of the two."""

    weights: dict[str, Any]
    ngram: NgramView
    combination: tuple[float, float]
    steps: int


def teach(run: Run, candidate: Candidate, frozen: PretrainedEmbeddings, pool: Pool) -> Learned | None:
    """What the rounds come to that begin with a candidate; None where documents are not to be learned from."""
    rounds = CoTraining(run, candidate.found, candidate.fit, pool)
    taught = rounds.teach()
    if taught is None:
        return None
    read = sum(told["documents"] for told in rounds.told)
    # Rounds take documents from the beginning of the pool, one after another.
    documents = pool.texts[:read]
    told = tuple(rounds.told)
    return Learned(
        taught.weights, taught.ngram, taught.combination, taught.steps, candidate.found, frozen, told, documents, read
    )


@dataclass
class CoTraining:
    """``found``: the cross-validation that documents are held against, None where there are too few labels for one;
    ``alone``: the fit on all labels, the first teacher; ``told``: what the report keeps of each stage."""

    run: Run
    found: CrossValidation | None
    alone: FitResult
    pool: Pool
    told: list[dict[str, Any]] = field(default_factory=list)

    def teach(self) -> CoTrainedViews | None:
        """None where the labels alone are to be learned from: no time, too few documents, or nothing gained by them.

        Raises:
            EngineError.
            BudgetError: the next encoder would cost more than the budget has left.
        """
        plan = self._plan()
        if not plan.documents:
            return None
        run, weights, steps = self.run, self.alone.weights, self.alone.steps
        documents = self._documents(0, plan.documents)
        with run.ledger.stage("held_out"):
            calibration = self._calibrate(documents)
        if calibration is None:
            return None
        told: PseudoLabels | None = None
        for number in range(1, plan.rounds + 1):
            with run.ledger.stage(f"round_{number}"):
                guesses = predict_round(run, number, weights, documents, told, calibration)
                self._report_round(number, guesses)
                if number == 1 and not self._documents_help(guesses):
                    return None
                calibration = calibration.after(guesses.near, guesses.ngram)
                taught = self._fit_student(number, weights, guesses, plan.rounds)
                weights, steps, told = taught.weights, steps + taught.steps, guesses.told
                documents = self._documents(number * plan.documents, plan.documents)
        with run.ledger.stage("last_guesses"):
            guesses = predict_round(run, plan.rounds + 1, weights, documents, told, calibration)
            self._report_round(plan.rounds + 1, guesses)
            return self._finish(weights, guesses, steps)

    def _plan(self) -> Plan:
        settings, texts = self.run.settings.teaching, self.pool.texts
        if len(texts) < LEAST_DOCUMENTS:
            say(f"{len(texts)} unlabelled documents are too few; the labels alone are learned from")
            return Plan(0, 0)
        read_tokens = self._mean_tokens(min(settings.read_tokens, self.run.examples.reader.max_length))
        crop_tokens = self._mean_tokens(settings.crop_tokens)
        limits = settings.max_rounds, settings.max_documents

        def planned() -> dict[str, Any]:
            time_budget = self.run.time_budget
            plan = time_budget.plan(len(texts), read_tokens, crop_tokens, *limits)
            return vars(plan) | {"tokens_per_s": round(time_budget.learning, 1)}

        note = self.run.ledger.results["plan"] = self.run.artifacts.note("plan", planned)
        plan = Plan(int(note["rounds"]), int(note["documents"]))
        if plan.documents:
            say(f"teaching: {plan.rounds} round(s), {plan.documents} of {len(texts)} documents a round")
        else:
            say("time_budget_s leaves no time to learn from unlabelled documents; the labels alone are learned from")
        return plan

    def _fit_student(self, number: int, teacher: dict[str, Any], guesses: RoundPredictions, rounds: int) -> FitResult:
        settings = self.run.settings.teaching
        crop_tokens = self._mean_tokens(settings.crop_tokens)
        # What stands between this encoder and the next, or the end: reading as many documents again, and n-grams.
        documents = len(guesses.documents)
        again_s = float(guesses.documents.cut.lengths.sum()) / self.run.time_budget.reading
        again_s += beside_reading_s((number + 1) * documents)
        crops = self.run.time_budget.crops(rounds - number + 1, again_s, crop_tokens, documents)
        self.run.budget.refuse(
            crops * crop_tokens / self.run.time_budget.learning, f"before the encoder of round {number}"
        )
        result = fit_student(self.run, number, teacher, guesses, crops)
        self.run.ledger.results[f"pupil_{number}"] = result.to_json()
        self.run.time_budget.record_throughput(result.rate * settings.batch_size * crop_tokens)
        return result

    def _calibrate(self, documents: Documents) -> PseudoLabelCalibration | None:
        """How far to believe what documents say; None where they clearly tell held-out labels worse than labels alone.

        Where the encoder moved, every fit of the cross-validation reads the documents, so only some are read; where it
        stayed, they are read once, for this and for the first round.
        """
        run, found = self.run, self.found
        if found is None:
            return PseudoLabelCalibration(UNMEASURED_ERROR, 1.0)
        if found.tuned:
            share_s = HELD_OUT_SHARE * run.time_budget.left_s / len(found.fits)
            count = int(share_s * run.time_budget.reading / max(1.0, float(documents.cut.lengths.mean())))
        else:
            count = MEASURED_DOCUMENTS
        note = run.artifacts.note("held-out", lambda: {"documents": min(max(count, LEAST_DOCUMENTS), len(documents))})
        some = documents.first(int(note["documents"]))
        said = measure(run, found, some, self._states_of_folds(found, documents, len(some)))
        hits, hits_before = self._held_hits(found, said.near), self._held_hits(found, found.encoder)
        right, before = float(hits.mean()), float(hits_before.mean())
        say(f"held-out labels right: {before:.1%} by labels alone, {right:.1%} among {len(some)} documents")
        calibration = said.calibration.among(len(documents) / len(some))
        expected, share = 1 - calibration.error, calibration.share
        figures = {"labels_alone": before, "among_documents": right, "expected": expected, "ngram_share": share}
        run.ledger.results["held_out"] = {name: round(figure, 4) for name, figure in figures.items()}
        if right + EVIDENCE * paired_standard_error(hits, hits_before) < before:
            say("among the unlabelled documents labels are clearly told worse: the labels alone are learned from")
            return None
        say(f"n-grams taught by documents count {share:.2f} times (1: as naive Bayes has it)")
        return calibration

    def _states_of_folds(self, found: CrossValidation, documents: Documents, count: int) -> States:
        """How the first documents and the labelled texts are read in the space of a fold's fit."""
        run, labels = self.run, self.run.examples.cut
        if found.tuned:
            texts = documents.first(count).cut + labels
            what = "held-out labels among documents"
            return lambda fold: embed_once(run, f"fold-{fold}", found.fits[fold].weights, texts, what)
        states = embed_once(run, "states-1", None, documents.cut + labels, "reading documents")
        some = np.vstack([states[:count], states[len(documents) :]])
        return lambda fold: some

    def _report_round(self, number: int, guesses: RoundPredictions) -> None:
        what = "labels alone" if number == 1 else f"taught in round {number - 1}"
        seconds = self.run.time_budget.spent_s - sum(told["seconds"] for told in self.told)
        told = round_summary(number, guesses, measured=self.found is not None) | {
            "what": what,
            "seconds": round(seconds, 1),
        }
        self.told.append(told)
        self.run.ledger.results[f"guesses_{number}"] = told

    def _documents_help(self, guesses: RoundPredictions) -> bool:
        """Whether documents taught the n-gram view as much about the labels as other labels did."""
        if self.found is None:
            return True
        by_labels = float(self._held_hits(self.found, self.found.ngram).mean())
        by_documents = float(self._held_hits(self.found, guesses.ngram_of_labels).mean())
        say(f"n-grams right about labels: {by_labels:.1%} taught by labels, {by_documents:.1%} taught by documents")
        if by_documents + self._evidence(self.found) >= by_labels:
            return True
        say("the unlabelled documents teach nothing about these labels: the labels alone are learned from")
        return False

    def _finish(self, weights: dict[str, Any], guesses: RoundPredictions, steps: int) -> CoTrainedViews | None:
        """None where the last encoder forgot what held-out labels told the first."""
        both = combine(guesses.encoder_of_labels, guesses.ngram_of_labels, *guesses.weights)
        if self.found is not None:
            right = float((both.argmax(axis=1) == self.run.examples.targets).mean())
            before = float(self._held_hits(self.found, self.found.encoder).mean())
            if right + self._evidence(self.found) < before:
                say("teaching made the model worse: the labels alone are learned from")
                return None
        return CoTrainedViews(guesses.headed(weights), final_ngram_view(self.run, guesses), guesses.weights, steps)

    def _held_hits(self, found: CrossValidation, probabilities: Floats) -> NDArray[np.bool_]:
        """Which of the held-out labels probabilities of all labels (labels, classes) get right."""
        return np.asarray(probabilities[found.held].argmax(axis=1) == self.run.examples.targets[found.held])

    def _evidence(self, found: CrossValidation) -> float:
        """By how much a share of the held-out labels must fall before that is more than chance."""
        return most_standard_error(len(found.held))

    def _documents(self, start: int, count: int) -> Documents:
        """The next documents of the pool, from its beginning again once it is at its end."""
        texts = [self.pool.texts[i % len(self.pool.texts)] for i in range(start, start + count)]
        return tokenize_documents(texts, self.run.examples, self.run.settings)

    def _mean_tokens(self, limit: int) -> float:
        """Of the pool's documents, as long as they are up to a limit."""
        return float(np.minimum(self._lengths, limit).mean())

    @cached_property
    def _lengths(self) -> NDArray[np.int64]:
        reader = self.run.examples.reader
        return TokenIds.of(reader.whole.encode(reader.prepare(self.pool.texts[:SAMPLED]))).lengths
