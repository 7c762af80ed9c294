"""The scores and the quarantine of a day are of one run, in every order of events."""

from __future__ import annotations

import itertools
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from night_kit import SIZES, SteppedNight, night, seen, stored
from warehouse_helpers import sql

from tlnlp.errors import NotFoundError, PublishConflictError
from tlnlp.warehouse.catalog import open_catalog

# The commits of a night that replaces a day: quarantine rows added, scores replaced, old quarantine rows removed.
COMMITS = 3
PAGE = Path(__file__).parents[2] / "deploy" / "warehouse.md"


def test_a_night_publishes_both_tables_and_replaces_both(warehouse: Path) -> None:
    assert night(warehouse, "old").rows == 3
    assert seen(warehouse) == {"old": SIZES["old"]}
    result = night(warehouse, "a")
    assert (result.rows, result.replaced_rows) == (4, 3)
    assert seen(warehouse) == {"a": SIZES["a"]}
    assert stored(warehouse) == {"a": 3}
    assert night(warehouse, "a") == result
    assert stored(warehouse) == {"a": 3}


def schedules(switches: int) -> Iterator[list[tuple[int, int]]]:
    """Yield orders of the steps of two nights, as pairs (which night, how many steps), with so many switches.

    Orders with few switches show most faults of concurrency. Source: Musuvathi and Qadeer, "Iterative context bounding
    for systematic testing of multithreaded programs", PLDI 2007.
    """
    for lengths in itertools.product(range(1, COMMITS + 1), repeat=switches):
        yield [(number % 2, length) for number, length in enumerate(lengths)]


def drive(warehouse: Path, schedule: list[tuple[int, int]]) -> list[SteppedNight]:
    """Run two nights of one day in this order, and then to their ends; check after each step what a reader sees."""
    nights = [SteppedNight(warehouse, run) for run in ("a", "b")]
    rest = [(number, 20) for number in (1 - schedule[-1][0], schedule[-1][0])]
    for number, steps in [*schedule, *rest]:
        for _ in range(steps):
            if not nights[number].ended:
                nights[number].step()
                found = seen(warehouse)
                assert len(found) == 1, schedule
                assert all(rows == SIZES[run] for run, rows in found.items()), schedule
    return nights


@pytest.mark.parametrize("switches", [2, pytest.param(3, marks=pytest.mark.acceptance)])
def test_in_every_order_of_two_nights_a_reader_sees_one_of_them(
    tmp_path: Path, switches: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tlnlp.warehouse.commit._FIRST_WAIT_S", 0)
    outcomes = set()
    for number, schedule in enumerate(schedules(switches)):
        warehouse = tmp_path / str(number)
        night(warehouse, "old")
        nights = drive(warehouse, schedule)
        (winner,) = seen(warehouse)
        lost = [one.error for one in nights if one.error]
        assert all(isinstance(error, PublishConflictError) for error in lost)
        assert len(lost) <= 1
        assert stored(warehouse) == {winner: SIZES[winner][1]}, schedule
        outcomes.add((winner, len(lost)))
    # The second night replaces the first one, or one of them is refused.
    assert outcomes == {("b", 0), ("a", 1), ("b", 1)}


@pytest.mark.parametrize("commits", range(COMMITS))
@pytest.mark.parametrize("published", [True, False])
def test_a_night_that_stops_between_two_commits_is_replaced_by_the_next_one(
    warehouse: Path, commits: int, published: bool
) -> None:
    if published:
        night(warehouse, "old")
    stopped = SteppedNight(warehouse, "a")
    for _ in range(1 + commits):
        stopped.step()
    if commits >= 2:
        assert seen(warehouse) == {"a": SIZES["a"]}
    elif published:
        assert seen(warehouse) == {"old": SIZES["old"]}
    else:
        with pytest.raises(NotFoundError, match="nothing has been published in it yet"):
            seen(warehouse)
    night(warehouse, "next")
    assert seen(warehouse) == {"next": SIZES["next"]}
    assert stored(warehouse) == {"next": SIZES["next"][1]}


KILLED = """if True:
    import os, signal, sys
    from pathlib import Path
    from night_kit import SteppedCatalog, night

    commits = iter(range(2))
    def ask():
        if next(commits) == 1:  # The quarantine has been committed, the scores have not.
            os.kill(os.getpid(), signal.SIGKILL)

    warehouse = Path(sys.argv[1])
    night(warehouse, "a", SteppedCatalog(warehouse, ask))"""


def killed_between_its_commits(warehouse: Path) -> None:
    """Publish the night ``old``, and kill the night ``a`` of the same day when only its quarantine is committed."""
    night(warehouse, "old")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", KILLED, str(warehouse)]
    done = subprocess.run(command, check=False, env=environment, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


def test_a_process_killed_between_the_commits_leaves_the_day_as_it_was(warehouse: Path) -> None:
    killed_between_its_commits(warehouse)
    assert seen(warehouse) == {"old": SIZES["old"]}
    # Nothing is lost: the rows of both runs are there for a reader who asks the table itself.
    assert stored(warehouse) == {"old": 2, "a": 3}
    current = "select run_id, current from history where \"table\" = 'quarantine' order by committed_at"
    assert sql(warehouse, current) == [("old", True), ("a", False)]
    night(warehouse, "next")
    assert seen(warehouse) == {"next": SIZES["next"]}
    assert stored(warehouse) == {"next": 5}
    assert sql(warehouse, current)[2:] == [("next", False), ("next", True)]


def test_the_documented_view_shows_the_same_in_another_engine(warehouse: Path) -> None:
    killed_between_its_commits(warehouse)
    (view,) = re.findall(r"^CREATE VIEW published_quarantine AS\n(.*?);$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    catalog = open_catalog(str(warehouse))
    with duckdb.connect(":memory:") as connection:
        for name in ("scores", "quarantine"):
            connection.register(name, catalog.load_table(f"tlnlp.{name}").scan().to_arrow())
        runs = connection.sql(f"select run_id, count(*) from ({view}) group by all").fetchall()
    assert runs == [("old", 2)]


def test_earlier_states_are_read_as_pairs_too(warehouse: Path) -> None:
    first = night(warehouse, "old")
    killed = SteppedNight(warehouse, "a")
    killed.step()
    killed.step()
    second = night(warehouse, "b")
    assert seen(warehouse, snapshot=first.snapshot_id) == {"old": SIZES["old"]}
    assert seen(warehouse, snapshot=second.snapshot_id) == {"b": SIZES["b"]}
    later = "select snapshot_id from history where committed_at >= (select min(committed_at) from history h where "
    for (snapshot,) in sql(warehouse, later + "h.\"table\" = 'scores')"):
        (pair,) = seen(warehouse, snapshot=snapshot).items()
        assert pair[1] == SIZES[pair[0]]


def test_a_day_whose_snapshot_has_expired_keeps_its_quarantine(warehouse: Path) -> None:
    night(warehouse, "old")
    table = open_catalog(str(warehouse)).load_table("tlnlp.scores")
    day = "score_date == '2026-11-23'"
    with table.transaction() as transaction:  # Another engine changes the table, then drops old snapshots.
        transaction.delete(day)
    table.maintenance.expire_snapshots().by_id(table.snapshots()[0].snapshot_id).commit()
    assert sql(warehouse, "select run_id, count(*) from quarantine group by all") == [("old", 2)]
