"""One run of ``finetune``: what each of its parts works with."""

from __future__ import annotations

from dataclasses import dataclass

from tlnlp.config import FinetuneSettings
from tlnlp.runs.cost import Budget
from tlnlp.runs.ledger import Ledger
from tlnlp.storage import Storage
from tlnlp.train.artifacts import Kept
from tlnlp.train.dataset import Examples
from tlnlp.train.distributed import ray_trainer
from tlnlp.train.distributed.ray_trainer import FitResult
from tlnlp.train.distributed.tasks import fit_each
from tlnlp.train.fit.trainer import Fit
from tlnlp.train.time_budget import Pace

# The keys of the fits on the whole cluster: on all labels, and of the encoder of each round.
FIT = "fit"


def pupil(round_number: int) -> str:
    return f"pupil-{round_number}"


@dataclass(frozen=True)
class Run:
    """``storage`` and ``name``: where it keeps what it has finished; ``budget`` and ``pace``: how much money and time
    are left."""

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

    def needs_job(self, fit: Fit) -> bool:
        """Whether a fit is worth a Ray Train job of its own, whose start takes longer than a small fit does."""
        return fit.learned_tokens > self.settings.ray.jobless_tokens

    def fit(self, key: str, fit: Fit, what: str) -> FitResult:
        """A fit with nothing beside it, under a key of its own; done by an earlier start of the run, it is taken up.

        Raises EngineError.
        """
        ray, storage, name = self.settings.ray, self.storage, self._job(key)
        if self.needs_job(fit):
            return self.kept.fits(key, lambda: [ray_trainer.run_fit(fit, ray, storage, name, what)])[0]
        return self.kept.fits(key, lambda: fit_each([fit], ray, what))[0]

    def forget(self) -> None:
        """Of a registered run nothing need be resumed; left in place, its like would return it untrained."""
        self.kept.forget()
        rounds = range(1, self.settings.teaching.max_rounds + 1)
        for key in (FIT, *(pupil(number) for number in rounds)):
            self.storage.delete_folder(self._job(key))

    def _job(self, key: str) -> str:
        return self.name if key == FIT else f"{self.name}-{key}"
