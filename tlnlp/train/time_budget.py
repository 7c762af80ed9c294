"""The time budget of a run: throughput measured in one stage plans the rounds, documents and windows of the next."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from tlnlp.errors import counted
from tlnlp.train.tuned_constants import TUNED

# Ratio of throughputs until measured: embedding (a forward pass) to training (forward, backward, update).
READING_IS_FASTER = 3.0
# Ratio of throughputs: training on documents (larger batches, all layers) to training on labels.
DOCUMENTS_ARE_FASTER = 0.8
# Overhead of a Ray Train job beside its steps, in seconds, until measured.
JOB_S = 25.0
# Overhead of a fit without such a job, in seconds: loading the encoder, fitting a head.
TASK_S = 5.0
# Seconds that a round takes beside embedding: tokenisation and neighbours once, n-gram views for each document.
BESIDE_READING_S, NGRAMS_S_A_DOCUMENT = 10.0, 1.5e-3
# Seconds that the bundle takes: export, parity check, upload.
BUNDLE_S = 25.0
# Share of the time budget that is planned; the rest covers a machine that slows down.
PLANNED_SHARE = 0.98
# Fewest documents that n-grams learn enough from.
LEAST_READ = 500
# Share of a round that embeds documents.
READING_SHARE = 0.2


@dataclass(frozen=True)
class Plan:
    """The plan of co-training.

    Fields:
        rounds: rounds that train an encoder; 0: documents are read once, and only n-grams learn from them.
        documents: documents of each round; 0: there is no time for documents.
    """

    rounds: int
    documents: int

    def describe(self, pool: int) -> str:
        """Return the log line of a plan for a pool of so many documents."""
        if not self.documents:
            return "time_budget_s leaves no time for unlabelled documents: the model learns from the labels alone"
        read = f"{self.documents} of {pool} documents"
        if not self.rounds:
            return f"co-training: no time to fine-tune on documents: {read} are read once"
        return f"co-training: {counted(self.rounds, 'round')}, with {read} in each"


class TimeBudget:
    """The clock of a run, and its measured throughput in tokens per second of all workers together."""

    def __init__(
        self,
        time_budget_s: float,
        began_s: float,
        timer: Callable[[], float] = time.monotonic,
        jobless_tokens: float = 0.0,
    ) -> None:
        """Start the clock.

        Args:
            time_budget_s: seconds from ``began_s`` to the registered version.
            timer: returns the time in seconds, on the clock of ``began_s``.
            jobless_tokens: a fit that reads at most this many tokens needs no Ray Train job.
        """
        self._began_s, self._end_s, self._timer = began_s, began_s + PLANNED_SHARE * time_budget_s, timer
        self._jobless_tokens = jobless_tokens
        self._reserved_s = BUNDLE_S
        self._training: float | None = None
        self._reading: float | None = None
        self._job_s = JOB_S

    @property
    def left_s(self) -> float:
        """Return the seconds until report and bundle must begin."""
        return self._end_s - self._timer() - self._reserved_s

    @property
    def spent_s(self) -> float:
        """Return the seconds since the run began."""
        return self._timer() - self._began_s

    def reserve(self, seconds: float) -> None:
        """Set seconds aside for work after training."""
        self._reserved_s += seconds

    def record_throughput(self, tokens_per_s: float) -> None:
        """Record the throughput of training on documents; 0, from a job resumed at its end, is ignored."""
        if tokens_per_s > 0:
            self._training = tokens_per_s

    def record_label_throughput(self, tokens_per_s: float) -> None:
        """Estimate the throughput of training on documents from that of training on labels."""
        self.record_throughput(tokens_per_s * DOCUMENTS_ARE_FASTER)

    def record_job_overhead(self, beside_s: float) -> None:
        """Record the seconds of a job beside its steps; values below 0, from a resumed job, are ignored."""
        if beside_s > 0:
            self._job_s = beside_s

    def record_reading_throughput(self, tokens_per_s: float) -> None:
        """Record the throughput of embedding; 0, from embeddings of an earlier start, is ignored."""
        if tokens_per_s > 0:
            self._reading = tokens_per_s

    @property
    def training_tokens_per_s(self) -> float:
        """Return the last measured throughput of training; until then, an estimate from that of embedding."""
        if self._training is not None:
            return self._training
        return 1.0 if self._reading is None else self._reading / READING_IS_FASTER

    @property
    def reading_tokens_per_s(self) -> float:
        """Return the last measured throughput of embedding; until then, an estimate from that of training."""
        return self.training_tokens_per_s * READING_IS_FASTER if self._reading is None else self._reading

    def _overhead_s(self, tokens: float) -> float:
        """Return the seconds that a fit of so many tokens takes beside its steps."""
        return TASK_S if tokens <= self._jobless_tokens else self._job_s

    def plan(self, pool: int, read_tokens: float, crop_tokens: float, most_rounds: int, most_documents: int) -> Plan:
        """Return the rounds and documents that fit into the time left.

        Args:
            pool: documents in the pool.
            read_tokens: mean tokens of a document as it is embedded.
            crop_tokens: mean tokens of a window as it is trained on.
        """
        crops = min(TUNED.round_crops, _useful(pool))
        training_s = crops * crop_tokens / self.training_tokens_per_s
        overhead_s = self._overhead_s(crops * crop_tokens) + beside_reading_s(crops // TUNED.most_passes)
        round_s = training_s / (1 - 2 * READING_SHARE) + overhead_s
        least_tokens = TUNED.least_crops * crop_tokens
        least_s = least_tokens / self.training_tokens_per_s + self._overhead_s(least_tokens)
        if pool == 0:
            return Plan(0, 0)
        if self.left_s < least_s:
            return self._plan_reading(pool, read_tokens, most_documents)
        rounds = int(min(most_rounds, max(1, self.left_s // round_s)))
        reading_s = self.left_s / rounds * READING_SHARE
        # On a GPU, fitting n-gram views can take longer than embedding the documents.
        documents = int(min(reading_s * self.reading_tokens_per_s / read_tokens, reading_s / NGRAMS_S_A_DOCUMENT))
        return Plan(rounds, max(1, min(documents, pool, most_documents)))

    def _plan_reading(self, pool: int, read_tokens: float, most_documents: int) -> Plan:
        """Return a plan without rounds: documents are embedded once, and n-grams learn from their pseudo-labels."""
        each_s = read_tokens / self.reading_tokens_per_s + NGRAMS_S_A_DOCUMENT
        documents = int(min((self.left_s - BESIDE_READING_S) / each_s, pool, most_documents))
        return Plan(0, documents if documents >= LEAST_READ else 0)

    def last_documents(self, plan: Plan, read_tokens: float) -> int:
        """Return how many documents the last encoder can read in the time left, but at least half of those planned.

        The n-gram view learns from them, so too few would cost accuracy.

        Args:
            read_tokens: mean tokens of a document as it is embedded.
        """
        # N-gram views are fitted to the documents of all rounds.
        left_s = self.left_s - beside_reading_s(plan.rounds * plan.documents)
        affordable = int(left_s / (read_tokens / self.reading_tokens_per_s + NGRAMS_S_A_DOCUMENT))
        return min(plan.documents, max(plan.documents // 2, affordable, 1))

    def crops(self, rounds_left: int, afterwards_s: float, crop_tokens: float, documents: int) -> int:
        """Return how many windows the next encoder can train on.

        Args:
            afterwards_s: seconds that each round needs after its training.
            crop_tokens: mean tokens of a window.
            documents: documents that the windows are taken from.
        """
        share_s = self.left_s / rounds_left - afterwards_s
        without_job = min((share_s - TASK_S) * self.training_tokens_per_s, self._jobless_tokens)
        affordable = int(max(without_job, (share_s - self._job_s) * self.training_tokens_per_s) / crop_tokens)
        return max(TUNED.least_crops // 4, min(affordable, TUNED.most_crops, _useful(documents)))

    def student_crops(self, seconds: float, crop_tokens: float, speedup: float) -> int:
        """Return how many windows a student can train on in ``seconds``.

        Args:
            crop_tokens: mean tokens of a window.
            speedup: ratio of its throughput to that of the encoder.
        """
        rate = self.training_tokens_per_s * speedup
        without_job = min((seconds - TASK_S) * rate, self._jobless_tokens)
        return max(1, int(max(without_job, (seconds - self._job_s) * rate) / crop_tokens))


def beside_reading_s(documents: int) -> float:
    """Return the seconds that a round takes beside embedding; ``documents``: those of this and all earlier rounds."""
    return BESIDE_READING_S + NGRAMS_S_A_DOCUMENT * documents


def _useful(documents: int) -> int:
    """Return the number of windows beyond which training on so many documents gains little."""
    return max(TUNED.short_round_crops, TUNED.most_passes * documents)
