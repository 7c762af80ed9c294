"""One run of ``finetune``: what each of its parts works with."""

from __future__ import annotations

from dataclasses import dataclass

from tlnlp.config import FinetuneSettings
from tlnlp.runs.cost import Budget
from tlnlp.runs.ledger import Ledger
from tlnlp.storage import Storage
from tlnlp.train.artifacts import Artifacts
from tlnlp.train.dataset import Examples
from tlnlp.train.executor import Executor
from tlnlp.train.fit.encoder_fit import EncoderFit, FitResult
from tlnlp.train.time_budget import TimeBudget

# The keys of the fits on the whole cluster: on all labels, and of the encoder of each round.
FIT = "fit"


def pupil(round_number: int) -> str:
    return f"pupil-{round_number}"


@dataclass(frozen=True)
class Run:
    """``storage`` and ``name``: where it keeps what it has finished; ``budget`` and ``pace``: how much money and time
    are left; ``executor``: where its fits and readings run."""

    settings: FinetuneSettings
    examples: Examples
    storage: Storage
    name: str
    ledger: Ledger
    budget: Budget
    time_budget: TimeBudget
    executor: Executor

    @property
    def artifacts(self) -> Artifacts:
        return Artifacts(self.storage, self.name)

    def fit(self, key: str, fit: EncoderFit, what: str) -> FitResult:
        """A fit with nothing beside it, under a key of its own; done by an earlier start of the run, it is taken up.

        Raises EngineError.
        """
        (result,) = self.artifacts.fits(key, lambda: [self.executor.fit_alone(fit, self.storage, self._job(key), what)])
        return result

    def forget(self) -> None:
        """Of a registered run nothing need be resumed; left in place, its like would return it untrained."""
        self.artifacts.forget()
        rounds = range(1, self.settings.teaching.max_rounds + 1)
        for key in (FIT, *(pupil(number) for number in rounds)):
            self.storage.delete_folder(self._job(key))

    def _job(self, key: str) -> str:
        return self.name if key == FIT else f"{self.name}-{key}"
