"""How a time budget becomes rounds, documents and windows."""

from __future__ import annotations

import pytest

from tlnlp.train.time_budget import (
    BESIDE_READING_S,
    BUNDLE_S,
    DOCUMENTS_ARE_FASTER,
    JOB_S,
    LEAST_READ,
    NGRAMS_S_A_DOCUMENT,
    PLANNED_SHARE,
    READING_IS_FASTER,
    READING_SHARE,
    TASK_S,
    Plan,
    TimeBudget,
)
from tlnlp.train.tuned_constants import TUNED


class Clock:
    """A clock that the test sets."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def budget(budget_s: float, tokens_per_s: float = 3000.0) -> tuple[TimeBudget, Clock]:
    """Return a time budget with a measured throughput of training, and its clock."""
    clock = Clock()
    made = TimeBudget(budget_s, clock(), clock)
    made.record_throughput(tokens_per_s)
    return made, clock


def test_the_bundle_is_made_within_the_budget() -> None:
    made, clock = budget(600)
    clock.now += 200
    assert made.left_s == pytest.approx(PLANNED_SHARE * 600 - 200 - BUNDLE_S)


def test_without_time_or_documents_there_is_no_round() -> None:
    assert budget(60)[0].plan(10_000, 200, 96, 4, 100_000).rounds == 0
    assert budget(1200)[0].plan(0, 200, 96, 4, 100_000).rounds == 0


def test_more_time_buys_more_documents_then_more_rounds() -> None:
    short, longer, longest = (budget(seconds)[0].plan(70_000, 200, 96, 4, 100_000) for seconds in (900, 1800, 10_800))
    assert short.rounds == longer.rounds == 1
    assert short.documents < longer.documents
    assert longest.rounds == 4
    assert budget(1800, tokens_per_s=300_000)[0].plan(70_000, 200, 96, 4, 100_000).rounds == 4


def test_few_documents_get_more_and_shorter_rounds() -> None:
    few, many = (budget(1800)[0].plan(documents, 200, 96, 4, 100_000) for documents in (3000, 70_000))
    assert few.rounds > many.rounds


def test_no_more_documents_than_there_are() -> None:
    assert budget(1800)[0].plan(500, 20, 20, 4, 100_000).documents == 500
    assert budget(1800)[0].plan(5000, 20, 20, 4, 300).documents == 300


def test_no_more_documents_than_n_grams_can_be_fitted_to() -> None:
    made, _ = budget(1800, tokens_per_s=300_000)
    plan = made.plan(1_000_000, 200, 96, 4, 1_000_000)
    reading_s = (PLANNED_SHARE * 1800 - BUNDLE_S) / 4 * READING_SHARE
    assert plan.documents == pytest.approx(reading_s / NGRAMS_S_A_DOCUMENT, abs=1)


def test_the_overhead_of_a_job_is_measured() -> None:
    made, _ = budget(1800)
    before = made.crops(1, 100.0, 96, 20_000)
    made.record_job_overhead(JOB_S + 100)
    made.record_job_overhead(-10.0)
    assert (before - made.crops(1, 100.0, 96, 20_000)) * 96 / 3000 == pytest.approx(100, rel=0.01)


def test_a_fit_that_needs_no_job_does_not_pay_for_one() -> None:
    def made(jobless_tokens: float) -> TimeBudget:
        result = TimeBudget(300, 100.0, Clock(), jobless_tokens)
        result.record_throughput(1000)
        return result

    left_s = PLANNED_SHARE * 300 - BUNDLE_S
    assert made(0).crops(1, 60.0, 96, 20_000) == int((left_s - 60 - JOB_S) * 1000 / 96)
    assert made(1e9).crops(1, 60.0, 96, 20_000) == int((left_s - 60 - TASK_S) * 1000 / 96)
    # Slightly more time than such a fit needs does not pay for the start of a job.
    assert made((left_s - 70) * 1000).crops(1, 60.0, 96, 20_000) == int((left_s - 70) * 1000 / 96)
    # This time is enough for a round without a job, and too short for a round with one.
    short = [TimeBudget(TUNED.least_crops * 96 / 1000 + 45, 100.0, Clock(), jobless) for jobless in (0, 1e9)]
    for one in short:
        one.record_throughput(1000)
    assert [one.plan(70_000, 200, 96, 4, 100_000).rounds for one in short] == [0, 1]


def test_the_throughput_of_embedding_is_measured() -> None:
    made, _ = budget(1200)
    assert made.reading_tokens_per_s == pytest.approx(9000)
    made.record_reading_throughput(5000)
    made.record_reading_throughput(0.0)
    assert made.reading_tokens_per_s == pytest.approx(5000)


def test_the_throughput_of_embedding_estimates_that_of_training() -> None:
    made = TimeBudget(1200, 100.0, Clock())
    assert made.training_tokens_per_s == 1.0
    made.record_reading_throughput(6000)
    assert made.training_tokens_per_s == pytest.approx(6000 / READING_IS_FASTER)
    made.record_throughput(500)
    assert (made.training_tokens_per_s, made.reading_tokens_per_s) == (500, 6000)


def test_without_time_for_an_encoder_documents_are_read_once() -> None:
    made, clock = budget(600, tokens_per_s=300.0)
    made.record_reading_throughput(9000)
    left_s = PLANNED_SHARE * 600 - BUNDLE_S
    assert left_s < TUNED.least_crops * 96 / 300 + JOB_S
    each_s = 200 / 9000 + NGRAMS_S_A_DOCUMENT
    plan = made.plan(70_000, 200, 96, 4, 100_000)
    assert (plan.rounds, plan.documents) == (0, int((left_s - BESIDE_READING_S) / each_s))
    assert made.plan(2000, 200, 96, 4, 100_000).documents == 2000
    assert made.plan(70_000, 200, 96, 4, 3000).documents == 3000
    # From fewer documents than that, n-grams learn too little.
    assert made.plan(LEAST_READ - 1, 200, 96, 4, 100_000) == Plan(0, 0)
    assert made.plan(LEAST_READ, 200, 96, 4, 100_000) == Plan(0, LEAST_READ)
    clock.now += left_s - BESIDE_READING_S - 0.5 * LEAST_READ * each_s
    assert made.plan(70_000, 200, 96, 4, 100_000) == Plan(0, 0)


def test_the_last_encoder_reads_fewer_documents_if_time_is_short() -> None:
    made, clock = budget(1200)
    made.record_reading_throughput(10_000)
    plan = Plan(1, 8_000)
    assert made.last_documents(plan, 200) == 8_000
    left_s = 6_000 * (200 / 10_000 + NGRAMS_S_A_DOCUMENT) + BESIDE_READING_S + NGRAMS_S_A_DOCUMENT * 8_000
    clock.now = 100 + PLANNED_SHARE * 1200 - BUNDLE_S - left_s
    assert made.last_documents(plan, 200) in (5_999, 6_000)
    clock.now += 10_000
    assert made.last_documents(plan, 200) == 4_000


def test_training_on_labels_estimates_the_throughput_of_training_on_documents() -> None:
    made, _ = budget(1200)
    made.record_label_throughput(1000)
    assert made.training_tokens_per_s == pytest.approx(1000 * DOCUMENTS_ARE_FASTER)
    made.record_throughput(2000)
    made.record_throughput(0.0)
    assert made.training_tokens_per_s == pytest.approx(2000)


def test_windows_fill_the_time_left() -> None:
    made, clock = budget(1800)
    crops = made.crops(1, 100.0, 96, 20_000)
    assert crops * 96 / 3000 == pytest.approx(PLANNED_SHARE * 1800 - BUNDLE_S - 100 - 25, rel=0.01)
    assert made.crops(2, 100.0, 96, 20_000) < crops / 2
    assert made.crops(1, 100.0, 96, 5000) == TUNED.most_passes * 5000
    assert made.crops(1, 100.0, 96, 1000) == TUNED.short_round_crops
    clock.now += 5000
    assert made.crops(1, 100.0, 96, 20_000) == TUNED.least_crops // 4
    assert budget(1e6)[0].crops(1, 0.0, 96, 1_000_000) == TUNED.most_crops
