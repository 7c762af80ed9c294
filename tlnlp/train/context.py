"""The context of one run of ``finetune``: settings, examples, ledger, budgets, executor and resume cache."""

from __future__ import annotations

from dataclasses import dataclass

from tlnlp.config import FinetuneSettings
from tlnlp.runs.cost import Budget
from tlnlp.runs.ledger import Ledger
from tlnlp.storage import Storage
from tlnlp.train.dataset import Examples
from tlnlp.train.executor import Executor
from tlnlp.train.fit.encoder_fit import EncoderFit, FitResult
from tlnlp.train.resume_cache import ResumeCache
from tlnlp.train.time_budget import TimeBudget

# Artifact key of the fit on all labels.
FIT = "fit"
# Artifact key of the student that scores.
DISTILLED = "distilled"


def student_key(round_number: int) -> str:
    """Return the artifact key of the encoder that a round trains."""
    return f"student-{round_number}"


@dataclass(frozen=True)
class Run:
    """Everything that the steps of a run share.

    Fields:
        storage, name: where the run keeps its resume cache and checkpoints, and under which name.
        ledger: the record of the run.
        budget: the money left.
        time_budget: the time left.
        executor: where fits and embeddings are computed.
        reading_precision: the precision in which documents are embedded; None: that of the training.
    """

    settings: FinetuneSettings
    examples: Examples
    storage: Storage
    name: str
    ledger: Ledger
    budget: Budget
    time_budget: TimeBudget
    executor: Executor
    reading_precision: str | None = None

    @property
    def resume_cache(self) -> ResumeCache:
        """Return the finished pieces of work of this run."""
        return ResumeCache(self.storage, self.name)

    def fit(self, key: str, fit: EncoderFit, what: str) -> FitResult:
        """Run one fit on all machines, or return its result if an earlier start of this run finished it.

        Args:
            key: the artifact key of the fit.
            what: the name of the fit in progress lines.

        Raises:
            EngineError: the fit failed.
        """
        (result,) = self.resume_cache.fits(
            key, lambda: [self.executor.fit_alone(fit, self.storage, self._job(key), what)]
        )
        return result

    def forget(self) -> None:
        """Delete the resume cache and the checkpoints of a registered run, so that the same command trains anew."""
        self.resume_cache.forget()
        rounds = range(1, self.settings.teaching.max_rounds + 1)
        for key in (FIT, DISTILLED, *(student_key(number) for number in rounds)):
            self.storage.delete_folder(self._job(key))

    def _job(self, key: str) -> str:
        return self.name if key == FIT else f"{self.name}-{key}"
