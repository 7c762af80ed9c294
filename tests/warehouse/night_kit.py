"""Publish nights of made-up rows, commit by commit, and read what a reader sees between two commits."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pyiceberg.table import CommitTableResponse, Table
from warehouse_helpers import DAY, score_row, sql, write_rows

from tlnlp.errors import TlnlpError
from tlnlp.warehouse.catalog import WarehouseCatalog
from tlnlp.warehouse.night import publish_night
from tlnlp.warehouse.publish import Publication, PublishResult
from tlnlp.warehouse.schema import QUARANTINE
from tlnlp.warehouse.tables import day_token

# How many score rows and quarantine rows each run publishes: no two runs are alike.
SIZES = {"old": (3, 2), "a": (4, 3), "b": (5, 4), "next": (6, 5)}


def night(
    warehouse: Path, run_id: str, catalog: WarehouseCatalog | None = None, expected: str | None = None
) -> PublishResult:
    """Stage and publish both tables of a night, with ``SIZES[run_id]`` rows."""
    scored, rejected = SIZES[run_id]
    rows = [score_row(number, run_id) for number in range(scored)]
    row = {"reason": "null_text", "detail": None, "source": None, "run_id": run_id, "score_date": DAY}
    aside = [row | {"document_id": f"x{number}"} for number in range(rejected)]
    owner: dict[str, Any] = {"source": "file:///documents", "model": "reviews", "run_id": run_id, "summary": {}}
    files = [write_rows(warehouse, run_id, rows, chunk="scores-0000")] if rows else []
    faulty = write_rows(warehouse, run_id, aside, QUARANTINE, chunk="quarantine")
    scores = Publication("scores", DAY, tuple(files), **owner)
    quarantine = Publication("quarantine", DAY, (faulty,), columns=QUARANTINE, **owner)
    return publish_night(catalog or _catalog(warehouse), scores, quarantine, expected)


def seen(warehouse: Path, **options: Any) -> dict[str, tuple[int, int]]:
    """Return what a reader of the day sees: by run id, its rows of scores and of quarantine."""
    union = "select run_id, 1 as scored, 0 as rejected from scores union all select run_id, 0, 1 from quarantine"
    found = sql(warehouse, f"select run_id, sum(scored), sum(rejected) from ({union}) group by all", **options)
    return {run: (int(scored), int(rejected)) for run, scored, rejected in found}


def stored(warehouse: Path) -> dict[str, int]:
    """Return how many rows of each run the quarantine itself holds, as plain PyIceberg reads it."""
    runs = _catalog(warehouse).load_table("tlnlp.quarantine").scan().to_arrow()["run_id"].to_pylist()
    return {run: runs.count(run) for run in set(runs)}


def _catalog(warehouse: Path) -> WarehouseCatalog:
    return WarehouseCatalog("warehouse", warehouse=str(warehouse))


class SteppedCatalog(WarehouseCatalog):
    """The real catalog, which asks before each commit."""

    def __init__(self, warehouse: Path, ask: Callable[[], None]) -> None:
        super().__init__("warehouse", warehouse=str(warehouse))
        self.ask = ask

    def commit_table(self, table: Table, requirements: Any, updates: Any) -> CommitTableResponse:
        self.ask()
        return super().commit_table(table, requirements, updates)


class SteppedNight:
    """A night in a thread, which goes on to its next commit when ``step`` is called.

    Attributes:
        ended: whether the night has published or failed.
        error: why it failed; None otherwise.
    """

    def __init__(self, warehouse: Path, run_id: str) -> None:
        self.ended, self.error = False, None
        self._go, self._waits = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, args=(warehouse, run_id), daemon=True)
        self._thread.start()
        self._waits.acquire()

    error: TlnlpError | None

    def step(self) -> None:
        """Let the night go on to the point before its next commit, or to its end."""
        self._go.release()
        self._waits.acquire()
        if self.ended:
            self._thread.join()

    def _ask(self) -> None:
        self._waits.release()
        self._go.acquire()

    def _run(self, warehouse: Path, run_id: str) -> None:
        try:
            self._ask()
            night(
                warehouse, run_id, SteppedCatalog(warehouse, self._ask), day_token(_catalog(warehouse), "scores", DAY)
            )
        except TlnlpError as error:
            self.error = error
        finally:
            self.ended = True
            self._waits.release()
