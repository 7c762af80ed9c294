"""The rounds of teaching in a time budget: planned by the pace of the machine, told one by one."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlnlp.cost import Budget
from tlnlp.data.pool import Pool
from tlnlp.ledger import Ledger
from tlnlp.model.combine import Floats, combine
from tlnlp.model.encode import TokenIds
from tlnlp.model.ngram import NgramView
from tlnlp.progress import say
from tlnlp.train.crossval import CrossValidation
from tlnlp.train.pace import NGRAMS_S, Pace, Plan
from tlnlp.train.ray_job import FitResult
from tlnlp.train.teach import Guesses, Teaching, told_of
from tlnlp.train.told import Documents, Told
from tlnlp.train.trust import Trust, measure

# Fewer documents than this are not learned from.
LEAST_DOCUMENTS = 50
# Of the time that is left, so much goes into measuring on held-out labels what documents tell.
HELD_OUT_SHARE = 0.08
# Texts whose lengths stand for those of the pool.
SAMPLED = 500


@dataclass(frozen=True)
class Taught:
    """The last encoder's tensors, the n-gram view that learned from its guesses, weights of the two."""

    weights: dict[str, Any]
    ngram: NgramView
    combination: tuple[float, float]
    steps: int


@dataclass
class Rounds:
    """``alone``: the fit on all labels, the first teacher; ``told``: what the report keeps of each stage."""

    teaching: Teaching
    found: CrossValidation
    alone: FitResult
    pool: Pool
    ledger: Ledger
    budget: Budget
    pace: Pace
    told: list[dict[str, Any]] = field(default_factory=list)

    def run(self) -> Taught | None:
        """None where the labels alone are to be learned from: no time, too few documents, or nothing gained by them.

        Raises:
            EngineError.
            BudgetError: the next encoder would cost more than the budget has left.
        """
        plan = self._plan()
        if not plan.rounds:
            return None
        teaching, weights, steps = self.teaching, self.alone.weights, self.alone.steps
        documents = self._documents(0, plan.documents)
        with self.ledger.stage("held_out"):
            trust = self._trust(documents)
        if trust is None:
            return None
        told: Told | None = None
        for number in range(1, plan.rounds + 1):
            with self.ledger.stage(f"round_{number}"):
                guesses = teaching.guesses(number, weights, documents, told, trust)
                self._tell(number, guesses)
                if number == 1 and not self._teaches(guesses):
                    return None
                trust = trust.after(guesses.near, guesses.ngram)
                pupil = self._pupil(number, weights, guesses, plan.rounds)
                weights, steps, told = pupil.weights, steps + pupil.steps, guesses.told
                documents = self._documents(number * plan.documents, plan.documents)
        with self.ledger.stage("last_guesses"):
            guesses = teaching.guesses(plan.rounds + 1, weights, documents, told, trust)
            self._tell(plan.rounds + 1, guesses)
            return self._taught(weights, guesses, steps)

    def _plan(self) -> Plan:
        settings, texts = self.teaching.settings.teaching, self.pool.texts
        if len(texts) < LEAST_DOCUMENTS:
            say(f"{len(texts)} unlabelled documents are too few; the labels alone are learned from")
            return Plan(0, 0)
        read_tokens = self._mean_tokens(min(settings.read_tokens, self.teaching.examples.reader.max_length))
        crop_tokens = self._mean_tokens(settings.crop_tokens)
        limits = settings.max_rounds, settings.max_documents
        note = self.teaching.kept.note(
            "plan", lambda: vars(self.pace.plan(len(texts), read_tokens, crop_tokens, *limits))
        )
        plan = Plan(int(note["rounds"]), int(note["documents"]))
        if plan.rounds:
            say(f"teaching: {plan.rounds} round(s), {plan.documents} of {len(texts)} documents a round")
        else:
            say("time_budget_s leaves no time to learn from unlabelled documents; the labels alone are learned from")
        return plan

    def _pupil(self, number: int, teacher: dict[str, Any], guesses: Guesses, rounds: int) -> FitResult:
        settings = self.teaching.settings.teaching
        crop_tokens = self._mean_tokens(settings.crop_tokens)
        # What stands between this encoder and the next, or the end: reading as many documents again, and n-grams.
        again_s = float(guesses.documents.cut.lengths.sum()) / self.pace.reading + NGRAMS_S
        crops = self.pace.crops(rounds - number + 1, again_s, crop_tokens, len(guesses.documents))
        self.budget.refuse(crops * crop_tokens / self.pace.learning, f"before the encoder of round {number}")
        result = self.teaching.pupil(number, teacher, guesses, crops)
        self.ledger.results[f"pupil_{number}"] = result.to_json()
        self.pace.has_learned(result.steps * settings.batch_size * crop_tokens, result.seconds)
        return result

    def _trust(self, documents: Documents) -> Trust | None:
        """How far to believe what documents say; None where they tell held-out labels worse than labels alone do.

        Every fit of the cross-validation reads the documents, so only some are read.
        """
        teaching = self.teaching
        share_s = HELD_OUT_SHARE * self.pace.left_s / len(self.found.fits)
        count = int(share_s * self.pace.reading / max(1.0, float(documents.cut.lengths.mean())))
        note = teaching.kept.note("held-out", lambda: {"documents": min(max(count, LEAST_DOCUMENTS), len(documents))})
        some = documents.first(int(note["documents"]))
        said = measure(teaching.examples, teaching.settings, self.found, some, teaching.kept)
        right, before = self._held_right(said.near), self._held_right(self.found.encoder)
        say(f"held-out labels right: {before:.1%} by labels alone, {right:.1%} among {len(some)} documents")
        expected, share = 1 - said.trust.error, said.trust.share
        figures = {"labels_alone": before, "among_documents": right, "expected": expected, "ngram_share": share}
        self.ledger.results["held_out"] = {name: round(figure, 4) for name, figure in figures.items()}
        if right + self._spread < before:
            say("among the unlabelled documents labels are told worse: the labels alone are learned from")
            return None
        say(f"n-grams taught by documents count {said.trust.share:.2f} times (1: as naive Bayes has it)")
        return said.trust

    def _tell(self, number: int, guesses: Guesses) -> None:
        what = "labels alone" if number == 1 else f"taught in round {number - 1}"
        seconds = self.pace.spent_s - sum(told["seconds"] for told in self.told)
        told = told_of(number, guesses) | {"what": what, "seconds": round(seconds, 1)}
        self.told.append(told)
        self.ledger.results[f"guesses_{number}"] = told

    def _teaches(self, guesses: Guesses) -> bool:
        """Whether documents taught the n-gram view as much about the labels as other labels did."""
        by_labels, by_documents = self._held_right(self.found.ngram), self._held_right(guesses.ngram_of_labels)
        say(f"n-grams right about labels: {by_labels:.1%} taught by labels, {by_documents:.1%} taught by documents")
        if by_documents + self._spread >= by_labels:
            return True
        say("the unlabelled documents teach nothing about these labels: the labels alone are learned from")
        return False

    def _taught(self, weights: dict[str, Any], guesses: Guesses, steps: int) -> Taught | None:
        """None where the last encoder forgot what held-out labels told the first."""
        both = combine(guesses.encoder_of_labels, guesses.ngram_of_labels, *guesses.weights)
        right = float((both.argmax(axis=1) == self.teaching.examples.targets).mean())
        if right + self._spread < self._held_right(self.found.encoder):
            say("teaching made the model worse: the labels alone are learned from")
            return None
        return Taught(guesses.headed(weights), self.teaching.last_ngram(guesses), guesses.weights, steps)

    def _held_right(self, probabilities: Floats) -> float:
        """The share of the held-out labels that probabilities of all labels (labels, classes) get right."""
        held = self.found.held
        return float((probabilities[held].argmax(axis=1) == self.teaching.examples.targets[held]).mean())

    @property
    def _spread(self) -> float:
        """The most that the standard error of a share of the held-out labels can be."""
        return float(np.sqrt(0.25 / len(self.found.held)))

    def _documents(self, start: int, count: int) -> Documents:
        """The next documents of the pool, from its beginning again once it is at its end."""
        texts = [self.pool.texts[i % len(self.pool.texts)] for i in range(start, start + count)]
        reader = self.teaching.examples.reader
        prepared = reader.prepare(texts)
        limit = min(self.teaching.settings.teaching.read_tokens, reader.max_length)
        cut = replace(reader.cut, max_length=limit)
        whole = TokenIds.of(reader.whole.encode(prepared))
        return Documents(prepared, whole, TokenIds.of(cut.encode(prepared)))

    def _mean_tokens(self, limit: int) -> float:
        """Of the pool's documents, as long as they are up to a limit."""
        return float(np.minimum(self._lengths, limit).mean())

    @cached_property
    def _lengths(self) -> NDArray[np.int64]:
        reader = self.teaching.examples.reader
        return TokenIds.of(reader.whole.encode(reader.prepare(self.pool.texts[:SAMPLED]))).lengths
