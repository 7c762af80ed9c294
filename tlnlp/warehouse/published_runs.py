"""Which run has published each day: the last snapshot of the scores that published a day names it.

That snapshot is the commit point of a night. A quarantine table may also hold rows of a run that is about to publish,
or that was killed before it did. Readers of this package see only the rows of the run that published the day.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import pyarrow.compute as pc
import pyarrow.dataset as ds
from pyiceberg.catalog import Catalog
from pyiceberg.table import Table
from pyiceberg.table.snapshots import ancestors_of

from tlnlp.errors import StorageError
from tlnlp.warehouse.run_folder import run_id_of
from tlnlp.warehouse.schema import SCORE_DATE, quarantine_name, scores_name, state_name
from tlnlp.warehouse.staged import partition_day
from tlnlp.warehouse.tables import PREFIX, load_table, planned_files, summary_of, tables_of

_TRIES = 20


@dataclass(frozen=True)
class PublishedRuns:
    """The run that published each day.

    Fields:
        runs: run id by day.
        complete: False if old snapshots have expired, so that a day without an entry may have been published too: one
            without any scored document.
    """

    runs: dict[date, str]
    complete: bool

    def includes(self, day: date, run_id: str | None) -> bool:
        """Return True if the run published the day, or may have done so."""
        run = self.runs.get(day)
        return not self.complete if run is None else run == run_id

    def rows_of(self, day: date | None) -> ds.Expression:
        """Return the condition that published quarantine rows of a day (None: of any day) meet."""
        if day is not None:
            run = self.runs.get(day)
            return ds.scalar(not self.complete) if run is None else ds.field("run_id") == run
        conditions = [(ds.field(SCORE_DATE) == day) & (ds.field("run_id") == run) for day, run in self.runs.items()]
        if not self.complete:
            conditions.append(~pc.is_in(ds.field(SCORE_DATE), ds.scalar(list(self.runs))))
        found = ds.scalar(False)
        for condition in conditions:
            found = found | condition
        return found


def published_runs(scores: Table, snapshot_id: int | None = None) -> PublishedRuns:
    """Return the run that published each day, as of a snapshot of the scores (None: the current one)."""
    newest = scores.current_snapshot() if snapshot_id is None else scores.snapshot_by_id(snapshot_id)
    runs: dict[date, str] = {}
    complete = True
    for snapshot in ancestors_of(newest, scores.metadata):
        summary = summary_of(snapshot)
        day, run = summary.get(f"{PREFIX}score-date"), summary.get(f"{PREFIX}run-id")
        if day and run:
            runs.setdefault(date.fromisoformat(day), run)
        # A table's first snapshot has the sequence number 1. PyIceberg takes the parent from one whose parent expires.
        complete = snapshot.parent_snapshot_id is None and (snapshot.sequence_number or 0) <= 1
    if not complete:  # The files of a day lie in the folder of the run that has published it.
        for file in planned_files(scores, scores.scan(snapshot_id=snapshot_id)):
            file_day, file_run = partition_day(file), run_id_of(file.file_path)
            if file_day is not None and file_run is not None:
                runs.setdefault(file_day, file_run)
    return PublishedRuns(runs, complete)


def load_tables(catalog: Catalog) -> dict[str, Table]:
    """Return all tables by name, each quarantine as it was while its scores were current.

    A night adds its quarantine before its scores and removes the replaced quarantine after them. So a quarantine that
    is loaded while the scores stay the same holds all rows of the published runs. A quarantine without scores is left
    out, because nothing has been published in it, and so are the states, which hold no rows of their own.
    """
    names, tables = tables_of(catalog), dict[str, Table | None]()
    for name in scores_tables(catalog, names):
        beside = quarantine_name(name)
        tables |= load_pair(catalog, name, beside) if beside in names else {name: load_table(catalog, name)}
    return {name: table for name, table in sorted(tables.items()) if table is not None}


def scores_tables(catalog: Catalog, names: Sequence[str] | None = None) -> list[str]:
    """Return the names of the tables of scores, without those of quarantines and states.

    Args:
        names: the names of all tables of the catalog, if they are known.
    """
    names = tables_of(catalog) if names is None else names
    states = {state_name(name) for name in names}
    return [name for name in names if name not in states and scores_name(name) is None]


def load_pair(catalog: Catalog, scores: str, quarantine: str) -> dict[str, Table | None]:
    """Return a table of scores and its quarantine by name, as ``load_tables`` does; None for one that is missing."""
    before = load_table(catalog, scores)
    for _ in range(_TRIES):
        beside, after = load_table(catalog, quarantine), load_table(catalog, scores)
        if before is None or after is None or before.metadata_location == after.metadata_location:
            return {scores: after, quarantine: beside if after else None}
        before = after
    raise StorageError(
        f"table {scores}: it was published again each of {_TRIES} times that it was read together with its quarantine; "
        "run the query again when fewer nights end at once"
    )
