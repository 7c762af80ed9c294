"""From labels, and documents without labels where there are any, to two views and one calibrated combination."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tlnlp.config import FinetuneSettings
from tlnlp.cost import Budget
from tlnlp.data.pool import Pool
from tlnlp.ledger import Ledger
from tlnlp.model.combine import fit_weights
from tlnlp.model.ngram import NgramView, fit_ngram
from tlnlp.progress import say
from tlnlp.storage import Storage
from tlnlp.train import ray_job
from tlnlp.train.crossval import CURVE_FOLDS, CURVE_SHARES, LABELS_C, CrossValidation, cross_validate
from tlnlp.train.examples import NO_TEXTS, Examples
from tlnlp.train.frozen import contradicted, read_frozen, right_by_names
from tlnlp.train.kept import Kept
from tlnlp.train.pace import Pace
from tlnlp.train.ray_job import FitResult
from tlnlp.train.rounds import Rounds
from tlnlp.train.teach import Teaching


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

    def acquainted(self) -> Learning:
        """The same run, its fits without what classes are called if the labels contradict that. Raises EngineError."""
        ray_job.scaling(self.settings.ray)  # Refuse what cannot be run before anything is.
        examples = self.examples
        if not examples.learns_names(self.settings):
            return self
        with self.ledger.stage("class_names"):
            right = right_by_names(read_frozen(examples, self.settings, self.kept), examples)
        self.ledger.results["class_names"] = {"right": round(right, 4)}
        told = f"class names: as pretrained, the encoder tells {right:.1%} of labelled texts by them"
        if contradicted(right, examples):
            say(f"{told}, fewer than chance; names are left aside (class_descriptions says what a class is)")
            return replace(self, examples=replace(examples, named=NO_TEXTS))
        say(told)
        return self

    def run(self, pool: Pool | None) -> Learned:
        """Raises EngineError; BudgetError: the rest would cost more than the budget has left."""
        with self.ledger.stage("cross_validation"):
            self.budget.refuse(0.0, "before the first fit")
            found = cross_validate(self.examples, self.settings, self.kept)
        if found is not None:
            self._note_pace(found)
        with self.ledger.stage("fit"):
            fit = self._fit(found)
        taught = self._teach(found, fit, pool) if found is not None and pool is not None else None
        return taught if taught is not None else self._labels_alone(found, fit)

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

    def _fit(self, found: CrossValidation | None) -> FitResult:
        """On all labels."""
        settings, examples = self.settings, self.examples
        expected = sum(one.seconds for one in found.fits) / len(found.fits) if found is not None else 0.0
        self.budget.refuse(expected, "before the fit on all labels")
        fit = examples.fit(settings, np.arange(len(examples.texts)), np.zeros(0, dtype=np.int64), settings.seed)
        return self.kept.fits(
            "fit", lambda: [self._told(ray_job.run_fit(fit, settings.ray, self.storage, self.name, "training"))]
        )[0]

    def _told(self, result: FitResult) -> FitResult:
        self.ledger.results["fit"] = result.to_json()
        return result

    def _labels_alone(self, found: CrossValidation | None, fit: FitResult) -> Learned:
        settings, examples = self.settings, self.examples
        ngram = fit_ngram(examples.texts, examples.targets.tolist(), len(examples.classes), settings.seed, c=LABELS_C)
        if found is None:
            return Learned(fit.weights, ngram, (1.0, 0.0), fit.steps, None)
        combination = fit_weights(found.encoder[found.held], found.ngram[found.held], examples.targets[found.held])
        return Learned(fit.weights, ngram, combination, fit.steps, found)

    def _teach(self, found: CrossValidation, fit: FitResult, pool: Pool) -> Learned | None:
        teaching = Teaching(self.settings, self.examples, self.storage, self.kept, self.name, self.pace)
        rounds = Rounds(teaching, found, fit, pool, self.ledger, self.budget, self.pace)
        taught = rounds.run()
        if taught is None:
            return None
        read = sum(told["documents"] for told in rounds.told)
        told = tuple(rounds.told)
        # Rounds take documents from the beginning of the pool, one after another.
        documents = pool.texts[:read]
        return Learned(taught.weights, taught.ngram, taught.combination, taught.steps, found, told, documents, read)
