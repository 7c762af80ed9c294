"""From labels, and documents without labels where there are any, to two views and one calibrated combination."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlnlp.config import FinetuneSettings
from tlnlp.cost import Budget
from tlnlp.data.pool import Pool
from tlnlp.ledger import Ledger
from tlnlp.model.combine import Floats, combine, fit_weights
from tlnlp.model.encode import TokenIds
from tlnlp.model.ngram import NgramView, fit_ngram
from tlnlp.progress import say
from tlnlp.storage import Storage
from tlnlp.train import ray_job
from tlnlp.train.crossval import CURVE_FOLDS, CURVE_SHARES, LABELS_C, CrossValidation, cross_validate, soup
from tlnlp.train.examples import Examples
from tlnlp.train.kept import Kept
from tlnlp.train.pace import Pace
from tlnlp.train.ray_job import FitResult
from tlnlp.train.teach import Documents, Guesses, Teaching, told_of

# What fitting n-gram views to guesses takes, until more is known.
NGRAMS_S = 40.0
# Fewer documents than this are not learned from.
LEAST_DOCUMENTS = 50
# The best round so far: the share of labels that it gets right, its encoder, and what that guesses.
Best = tuple[float, dict[str, Any], Guesses | None]
NOTHING_YET: Best = (0.0, {}, None)


@dataclass(frozen=True)
class Learned:
    """``weights``: the encoder view's tensors; ``combination``: weights of encoder and n-gram view.

    ``encoder`` and ``ngram`` (held-out labels, classes): cross-validated guesses at the positions ``held``, of the best
    models that can be measured so; ``rounds``: what each step of learning came to, for the report.
    """

    weights: dict[str, Any]
    ngram: NgramView
    combination: tuple[float, float]
    steps: int
    found: CrossValidation | None
    encoder: Floats
    ngram_guesses: Floats
    rounds: tuple[dict[str, Any], ...] = ()
    documents_read: int = 0

    @property
    def held(self) -> NDArray[np.int64]:
        return self.found.held if self.found is not None else np.zeros(0, dtype=np.int64)


@dataclass(frozen=True)
class Learning:
    """One run: where it keeps what it has finished, and how much time and money are left."""

    settings: FinetuneSettings
    examples: Examples
    storage: Storage
    name: str
    ledger: Ledger
    budget: Budget
    pace: Pace

    @property
    def kept(self) -> Kept:
        return Kept(self.storage, self.name)

    def run(self, pool: Pool | None) -> Learned:
        """Raises EngineError; BudgetError: the rest would cost more than the budget has left."""
        ray_job.scaling(self.settings.ray)  # Refuse what cannot be run before anything is.
        with self.ledger.stage("cross_validation"):
            self.budget.refuse(0.0, "before the first fit")
            found = cross_validate(self.examples, self.settings, self.kept)
        if found is not None:
            self._note_pace(found)
            taught = self._teach(found, pool) if pool is not None else None
            if taught is not None:
                return taught
        return self._labels_alone(found)

    def forget(self) -> None:
        """Of a registered run nothing need be resumed; left in place, its like would return it untrained."""
        self.kept.forget()
        for key in ("", *(f"-pupil-{number}" for number in range(1, self.settings.teaching.max_rounds + 1))):
            self.storage.delete_folder(f"{self.name}{key}")

    def _note_pace(self, found: CrossValidation) -> None:
        recipe, lengths = self.settings.training, self.examples.whole.lengths
        tokens = float(np.minimum(lengths, recipe.crop_tokens).mean()) * recipe.batch_size
        per_core = [fit.steps * tokens / max(fit.seconds, 1e-3) for fit in found.fits]
        places = ray_job.places(self.settings.ray)
        self.pace.has_learned(float(np.mean(per_core)) * min(len(per_core), places), 1.0)
        # The learning curve of the report: so many fits more, each of so many of the steps.
        self.pace.reserve(
            sum(CURVE_SHARES) * CURVE_FOLDS * float(np.mean([fit.seconds for fit in found.fits])) / places
        )

    def _labels_alone(self, found: CrossValidation | None) -> Learned:
        settings, examples = self.settings, self.examples
        everything, nothing = np.arange(len(examples.texts)), np.zeros(0, dtype=np.int64)
        fit = examples.fit(settings, everything, nothing, settings.seed)
        with self.ledger.stage("fit"):
            expected = sum(one.seconds for one in found.fits) / len(found.fits) if found is not None else 0.0
            self.budget.refuse(expected, "before the last fit")
            result = ray_job.run_fit(fit, settings.ray, self.storage, self.name, "training")
            self.ledger.results["fit"] = result.to_json()
        weights = result.weights if found is None else soup([*found.fits, result], examples, settings)
        ngram = fit_ngram(examples.texts, examples.targets.tolist(), len(examples.classes), settings.seed, c=LABELS_C)
        if found is None:
            empty = np.zeros((0, len(examples.classes)))
            return Learned(weights, ngram, (1.0, 0.0), result.steps, None, empty, empty)
        encoder, guesses = found.encoder[found.held], found.ngram[found.held]
        combination = fit_weights(encoder, guesses, examples.targets[found.held])
        return Learned(weights, ngram, combination, result.steps, found, encoder, guesses)

    def _teach(self, found: CrossValidation, pool: Pool) -> Learned | None:
        settings, teaching = self.settings, self._teaching()
        if len(pool.texts) < LEAST_DOCUMENTS:
            say(f"{len(pool.texts)} unlabelled documents are too few; the labels alone are learned from")
            return None
        lengths = self._sampled_lengths(pool)
        read_tokens = float(np.minimum(lengths, min(settings.teaching.read_tokens, settings.max_length)).mean())
        crop_tokens = float(np.minimum(lengths, settings.teaching.crop_tokens).mean())
        plan = self.kept.note(
            "plan",
            lambda: vars(
                self.pace.plan(
                    len(pool.texts), read_tokens, crop_tokens, settings.teaching.max_rounds,
                    settings.teaching.max_documents,
                )
            ),
        )  # fmt: skip
        rounds, count = int(plan["rounds"]), int(plan["documents"])
        if not rounds:
            say("time_budget_s leaves no time to learn from unlabelled documents; the labels alone are learned from")
            return None
        say(f"teaching: {rounds} round(s), {count} of {len(pool.texts)} documents a round")
        weights, steps, best = soup(found.fits, self.examples, self.settings), found.fits[0].steps, NOTHING_YET
        for number in range(1, rounds + 2):
            with self.ledger.stage(f"round_{number}" if number <= rounds else "last_guesses"):
                held_out = (found.held, found.encoder) if number == 1 else None
                documents = self._documents(pool, (number - 1) * count, count)
                guesses = teaching.guesses(number, weights, documents, held_out)
                right = self._told(teaching, number, guesses, found)
                if number == 1 and not self._teaches(found, guesses):
                    return None
                if number > 1 and right >= best[0]:  # Of equals the later, which has learned from more documents.
                    best = (right, weights, guesses)
                if number <= rounds:
                    result = self._pupil(teaching, number, guesses, rounds, crop_tokens)
                    weights, steps = result.weights, steps + result.steps
        return self._taught(found, steps, teaching, best)

    def _pupil(self, teaching: Teaching, number: int, guesses: Guesses, rounds: int, crop_tokens: float) -> FitResult:
        # What stands between this encoder and the next, or the end: reading as many documents again, and n-grams.
        again_s = float(guesses.documents.cut.lengths.sum()) / self.pace.reading + NGRAMS_S
        crops = self.pace.crops(rounds - number + 1, again_s, crop_tokens, len(guesses.documents))
        self.budget.refuse(crops * crop_tokens / self.pace.learning, f"before the encoder of round {number}")
        result = teaching.pupil(number, guesses, crops)
        self.ledger.results[f"pupil_{number}"] = result.to_json()
        if result.seconds > 0:
            self.pace.has_learned(result.steps * self.settings.teaching.batch_size * crop_tokens, result.seconds)
        return result

    def _told(self, teaching: Teaching, number: int, guesses: Guesses, found: CrossValidation) -> float:
        """Note what the guessing encoder is worth on the labels: held out from it, or known to its teachers alone."""
        targets = self.examples.targets
        if number == 1:
            what, right = "labels alone", found.encoder[found.held].argmax(axis=1) == targets[found.held]
        else:
            both = combine(guesses.encoder_of_labels, guesses.ngram_of_labels, *guesses.weights)
            what, right = f"taught in round {number - 1}", both.argmax(axis=1) == targets
        seconds = self.pace.spent_s - sum(told["seconds"] for told in teaching.told)
        told = told_of(number, guesses) | {"what": what, "accuracy": float(right.mean()), "seconds": round(seconds, 1)}
        say(f"{what}: {right.mean():.1%} of {len(right)} labels right")
        teaching.told.append(told)
        self.ledger.results[f"guesses_{number}"] = told
        return float(right.mean())

    def _teaches(self, found: CrossValidation, guesses: Guesses) -> bool:
        """Whether documents taught the n-gram view as much about the labels as other labels did."""
        targets = self.examples.targets[found.held]
        by_labels = float((found.ngram[found.held].argmax(axis=1) == targets).mean())
        by_documents = float((guesses.ngram_of_labels[found.held].argmax(axis=1) == targets).mean())
        say(f"n-grams right about labels: {by_labels:.1%} taught by labels, {by_documents:.1%} taught by documents")
        if by_documents + float(np.sqrt(0.25 / len(targets))) >= by_labels:
            return True
        say("the unlabelled documents teach nothing about these labels: the labels alone are learned from")
        return False

    def _taught(self, found: CrossValidation, steps: int, teaching: Teaching, best: Best) -> Learned | None:
        """The best round; None if even that knows less about the labels than they themselves taught, held out."""
        right, weights, guesses = best
        held, by_labels = found.held, float(teaching.told[0]["accuracy"])
        if guesses is None or right + float(np.sqrt(0.25 / len(held))) < by_labels:
            say("teaching made the model worse: the labels alone are learned from")
            return None
        return Learned(
            weights,
            teaching.last_ngram(guesses),
            guesses.weights,
            steps,
            found,
            found.encoder[held],
            found.ngram[held],
            tuple(teaching.told),
            sum(told["documents"] for told in teaching.told),
        )

    def _teaching(self) -> Teaching:
        return Teaching(self.settings, self.examples, self.storage, self.kept, self.name, self.pace)

    def _sampled_lengths(self, pool: Pool) -> NDArray[np.int64]:
        reader = self.examples.reader
        return TokenIds.of(reader.whole.encode(reader.prepare(pool.texts[:500]))).lengths

    def _documents(self, pool: Pool, start: int, count: int) -> Documents:
        """The next documents of the pool, from its beginning again once it is at its end."""
        texts = [pool.texts[i % len(pool.texts)] for i in range(start, start + count)]
        reader = self.examples.reader
        prepared = reader.prepare(texts)
        whole = TokenIds.of(reader.whole.encode(prepared))
        limit = min(self.settings.teaching.read_tokens, reader.max_length)
        cut = replace(reader.cut, max_length=limit)
        return Documents(prepared, whole, TokenIds.of(cut.encode(prepared)))
