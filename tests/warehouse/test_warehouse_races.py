"""Publishing under contention: concurrent publishers, lost answers, concurrent readers."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyiceberg.exceptions import CommitFailedException, CommitStateUnknownException
from pyiceberg.table import CommitTableResponse, Table
from warehouse_helpers import DAY, live_rows, publish, snapshots, sql

from tlnlp.errors import PublishConflictError, StorageError
from tlnlp.warehouse.catalog import WarehouseCatalog, open_catalog
from tlnlp.warehouse.schema import Column
from tlnlp.warehouse.tables import day_files, day_token, load_table

OTHER_DAY = DAY - timedelta(days=1)


class HookedCatalog(WarehouseCatalog):
    """The real catalog, which calls ``before`` before its first commit and ``after`` after it."""

    def __init__(self, warehouse: Path, before: Callable[[], Any] = int, after: Callable[[], Any] = int) -> None:
        super().__init__("warehouse", warehouse=str(warehouse))
        self.before, self.after, self.commits = before, after, 0

    def commit_table(self, table: Table, requirements: Any, updates: Any) -> CommitTableResponse:
        self.commits += 1
        first = self.commits == 1
        if first:
            self.before()
        response = super().commit_table(table, requirements, updates)
        if first:
            self.after()
        return response


def _publish_in_process(warehouse: Path, run_id: str, rows: int, day: date, start: Any, outcomes: Any) -> None:
    expected = day_token(open_catalog(str(warehouse)), "scores", day)
    start.wait()
    try:
        publish(warehouse, run_id, rows, day, expected=expected)
        outcomes.put((run_id, "won"))
    except PublishConflictError as error:
        outcomes.put((run_id, str(error)))


def _in_processes(warehouse: Path, runs: list[tuple[str, int, date]]) -> dict[str, str]:
    context = multiprocessing.get_context("spawn")
    start, outcomes = context.Barrier(len(runs)), context.Queue()
    started = [
        context.Process(target=_publish_in_process, args=(warehouse, *run, start, outcomes), daemon=True)
        for run in runs
    ]
    for process in started:
        process.start()
    found = dict(outcomes.get(timeout=50) for _ in started)
    for process in started:
        process.join(20)
    return found


@pytest.mark.parametrize("there", [0, 5])
def test_of_two_processes_that_publish_one_day_exactly_one_wins(warehouse: Path, there: int) -> None:
    if there:
        publish(warehouse, "r0", there)
    outcomes = _in_processes(warehouse, [("a", 10, DAY), ("b", 20, DAY)])
    winner = next(run for run, outcome in outcomes.items() if outcome == "won")
    loser = "b" if winner == "a" else "a"
    assert f"run {winner} published 2026-11-23 while run {loser} was at work" in outcomes[loser]
    assert live_rows(warehouse) == {"a": 10, "b": 20}[winner]


def test_processes_that_publish_different_days_all_succeed(warehouse: Path) -> None:
    runs = [(f"r{number}", 5, DAY - timedelta(days=number)) for number in range(3)]
    outcomes = _in_processes(warehouse, runs)
    assert outcomes == {"r0": "won", "r1": "won", "r2": "won"}
    assert sql(warehouse, "select count(*), count(distinct score_date) from scores") == [(15, 3)]


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("rows", [0, 6])
def test_a_publisher_that_planned_at_the_same_time_as_the_winner_is_refused(
    warehouse: Path, there: bool, rows: int
) -> None:
    if there:
        publish(warehouse, "r0", 4)
    late = HookedCatalog(warehouse, before=lambda: publish(warehouse, "first", rows))
    with pytest.raises(PublishConflictError, match="run first published 2026-11-23 while run late"):
        publish(warehouse, "late", 8, catalog=late)
    assert live_rows(warehouse) == rows


@pytest.mark.parametrize("there", [True, False])
def test_a_publisher_that_loses_to_another_day_plans_again(warehouse: Path, there: bool) -> None:
    if there:
        publish(warehouse, "r0", 4)
    kept = [Column("item", "string")]
    late = HookedCatalog(warehouse, before=lambda: publish(warehouse, "first", 6, OTHER_DAY, kept=kept))
    publish(warehouse, "late", 8, catalog=late)
    assert late.commits == 2
    assert sql(warehouse, "select run_id, count(*) from scores group by all order by 1") == [("first", 6), ("late", 8)]


def test_a_commit_whose_answer_was_lost_is_found_by_its_run_id(warehouse: Path) -> None:
    publish(warehouse, "r0", 4)

    def vanish() -> None:
        raise CommitStateUnknownException("the answer was lost")

    catalog = HookedCatalog(warehouse, after=vanish)
    assert publish(warehouse, "r1", 8, catalog=catalog).replaced_rows == 4
    assert catalog.commits == 1
    assert len(snapshots(warehouse)) == 2
    assert live_rows(warehouse) == 8


def test_a_commit_that_never_arrived_is_tried_again(warehouse: Path) -> None:
    def vanish() -> None:
        raise OSError("no route to host")

    catalog = HookedCatalog(warehouse, before=vanish)
    assert publish(warehouse, "r1", 8, catalog=catalog).rows == 8
    assert catalog.commits == 2
    assert len(snapshots(warehouse)) == 1


class _RefusingCatalog(WarehouseCatalog):
    error: Exception = CommitFailedException("again")

    def commit_table(self, table: Table, requirements: Any, updates: Any) -> CommitTableResponse:
        raise self.error


@pytest.mark.parametrize(
    ("error", "raised", "message"),
    [
        (
            CommitFailedException("again"),
            PublishConflictError,
            "other commits came first 12 times in a row, so nothing of run r1 was published",
        ),
        (CommitStateUnknownException("?"), StorageError, "look in `history` for run r1"),
    ],
)
def test_the_number_of_tries_is_limited(
    warehouse: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, raised: type[Exception], message: str
) -> None:
    monkeypatch.setattr("tlnlp.warehouse.commit._LONGEST_WAIT_S", 0.01)
    catalog = _RefusingCatalog("warehouse", warehouse=str(warehouse))
    catalog.error = error
    with pytest.raises(raised, match=message):
        publish(warehouse, "r1", 2, catalog=catalog)


def test_a_reader_in_a_loop_sees_the_old_or_the_new_row_count_and_no_other(warehouse: Path) -> None:
    publish(warehouse, "r-0", 30)
    publish(warehouse, "r-other", 7, OTHER_DAY)
    sizes = [30 if number % 2 == 0 else 50 for number in range(21)]
    seen: list[tuple[int, int]] = []
    done = threading.Event()
    query = "select count(*), count(distinct run_id) from scores where score_date = '2026-11-23'"

    def read() -> None:
        while not done.is_set():
            seen.append(sql(warehouse, query)[0])

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for number, rows in list(enumerate(sizes))[1:]:
            before = len(seen)
            publish(warehouse, f"r-{number}", rows)
            while len(seen) == before and reader.is_alive():
                done.wait(0.001)
    finally:
        done.set()
        reader.join()
    assert len(seen) >= 20
    assert set(seen) == {(30, 1), (50, 1)}
    table = load_table(open_catalog(str(warehouse)), "scores")
    assert table is not None
    assert len(day_files(table, DAY)) == 2
