"""How far the time of a run goes on the machine at hand: what is measured in one stage plans the next."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

# A forward pass alone, against forward, backward and update: so many times as many tokens a second, until measured.
READING_IS_FASTER = 3.0
# Encoders learn from documents in larger batches than from labels, and with all layers: so many times as many tokens a
# second.
DOCUMENTS_ARE_FASTER = 0.8
# What a Ray Train job takes beside its steps, until measured.
JOB_S = 25.0
# What a fit without such a job does: it loads the encoder, and fits a head.
TASK_S = 5.0
# What a reading takes beside the reading: tokens, neighbours; and n-gram views, by each document that they learn from.
BESIDE_READING_S, NGRAMS_S_A_DOCUMENT = 10.0, 1.5e-3
# Making the bundle: export, parity, upload.
BUNDLE_S = 25.0
# What is planned is this share of the time given: a machine is not equally fast all the time.
PLANNED_SHARE = 0.98
# Windows that a new encoder must read to be worth a round, and the most that still pay.
LEAST_CROPS, MOST_CROPS = 2_500, 60_000
# Fewer documents than this tell n-grams too little to be worth reading.
LEAST_READ = 500
# A round this long teaches well; more time than that buys another round, which spreads labels in a better space. Few
# documents have taught what they can in fewer windows.
ROUND_CROPS, SHORT_ROUND_CROPS = 26_000, 10_000
# Of the time of a round, so much goes into reading documents.
READING_SHARE = 0.2
# Windows of each document in a round; of few documents more, until the round is long enough.
MOST_PASSES = 3


@dataclass(frozen=True)
class Plan:
    """``rounds`` of ``documents`` read and learned from. No round: as many documents are read once, and the encoder
    stays as it is; no documents: there is no time for that either."""

    rounds: int
    documents: int


class TimeBudget:
    """The clock of a run with a time budget. Rates are of tokens, in all workers together.

    ``jobless_tokens``: a fit that reads no more of them needs no Ray Train job.
    """

    def __init__(
        self,
        time_budget_s: float,
        began_s: float,
        timer: Callable[[], float] = time.monotonic,
        jobless_tokens: float = 0.0,
    ) -> None:
        self._began_s, self._end_s, self._timer = began_s, began_s + PLANNED_SHARE * time_budget_s, timer
        self._jobless_tokens = jobless_tokens
        self._reserved_s = BUNDLE_S
        self._learning: float | None = None
        self._reading: float | None = None
        self._job_s = JOB_S

    @property
    def left_s(self) -> float:
        """Seconds until report and bundle must be begun."""
        return self._end_s - self._timer() - self._reserved_s

    @property
    def spent_s(self) -> float:
        return self._timer() - self._began_s

    def reserve(self, seconds: float) -> None:
        """For what comes after learning."""
        self._reserved_s += seconds

    def record_throughput(self, tokens_per_s: float) -> None:
        """From documents. A job resumed at its end has measured nothing, 0."""
        if tokens_per_s > 0:
            self._learning = tokens_per_s

    def record_label_throughput(self, tokens_per_s: float) -> None:
        """Which stands for learning from documents until that is measured."""
        self.record_throughput(tokens_per_s * DOCUMENTS_ARE_FASTER)

    def record_job_overhead(self, beside_s: float) -> None:
        """``beside_s``: what it took beside its steps; below 0 where an earlier start had run most of them."""
        if beside_s > 0:
            self._job_s = beside_s

    def record_reading_throughput(self, tokens_per_s: float) -> None:
        """A reading taken up from an earlier start has measured nothing, 0."""
        if tokens_per_s > 0:
            self._reading = tokens_per_s

    @property
    def learning(self) -> float:
        """Tokens learned from, a second, when last measured; until then by how fast tokens are read."""
        if self._learning is not None:
            return self._learning
        return 1.0 if self._reading is None else self._reading / READING_IS_FASTER

    @property
    def reading(self) -> float:
        """Tokens read, a second, when last measured."""
        return self.learning * READING_IS_FASTER if self._reading is None else self._reading

    def _beside_s(self, tokens: float) -> float:
        """What a fit that reads so many tokens takes beside its steps."""
        return TASK_S if tokens <= self._jobless_tokens else self._job_s

    def plan(self, pool: int, read_tokens: float, crop_tokens: float, most_rounds: int, most_documents: int) -> Plan:
        """Rounds for a pool of so many documents, ``read_tokens`` and ``crop_tokens`` long on average as read."""
        crops = min(ROUND_CROPS, _useful(pool))
        learning_s = crops * crop_tokens / self.learning
        beside_s = self._beside_s(crops * crop_tokens) + beside_reading_s(crops // MOST_PASSES)
        round_s = learning_s / (1 - 2 * READING_SHARE) + beside_s
        least_tokens = LEAST_CROPS * crop_tokens
        least_s = least_tokens / self.learning + self._beside_s(least_tokens)
        if pool == 0:
            return Plan(0, 0)
        if self.left_s < least_s:
            return self._plan_reading(pool, read_tokens, most_documents)
        rounds = int(min(most_rounds, max(1, self.left_s // round_s)))
        reading_s = self.left_s / rounds * READING_SHARE
        # A GPU reads more documents than n-gram views can be fitted to in the time.
        documents = int(min(reading_s * self.reading / read_tokens, reading_s / NGRAMS_S_A_DOCUMENT))
        # Rounds read afresh while the pool lasts.
        return Plan(rounds, max(1, min(documents, pool, most_documents)))

    def _plan_reading(self, pool: int, read_tokens: float, most_documents: int) -> Plan:
        """No encoder learns; documents are read once, and n-grams learn from what that says of them."""
        each_s = read_tokens / self.reading + NGRAMS_S_A_DOCUMENT
        documents = int(min((self.left_s - BESIDE_READING_S) / each_s, pool, most_documents))
        return Plan(0, documents if documents >= LEAST_READ else 0)

    def crops(self, rounds_left: int, reading_again_s: float, crop_tokens: float, documents: int) -> int:
        """Windows that the next encoder can read, with ``reading_again_s`` kept for what follows in each round."""
        share_s = self.left_s / rounds_left - reading_again_s
        without_job = min((share_s - TASK_S) * self.learning, self._jobless_tokens)
        affordable = int(max(without_job, (share_s - self._job_s) * self.learning) / crop_tokens)
        return max(LEAST_CROPS // 4, min(affordable, MOST_CROPS, _useful(documents)))


def beside_reading_s(documents: int) -> float:
    """Seconds that telling of documents takes beside reading them, ``documents`` of this reading and all before."""
    return BESIDE_READING_S + NGRAMS_S_A_DOCUMENT * documents


def _useful(documents: int) -> int:
    """Windows after which so many documents have little more to teach."""
    return max(SHORT_ROUND_CROPS, MOST_PASSES * documents)
