"""Remove the folders of abandoned runs: staged files that no table refers to and no process still writes.

A run's folder holds staged files, which are the table's own data once they are published. So a folder is removed
only if its newest object is old (or its run is known to have ended), if it was not staged for another catalog, and if
no snapshot of any table, current or past, refers to a file in it. Of a run that was killed when only its quarantine was
committed, the rest of the folder is removed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from itertools import chain

from pyiceberg.catalog import Catalog

from tlnlp.errors import StorageError
from tlnlp.warehouse.run_folder import all_runs, marked_catalog, only_quarantine, run_id_of
from tlnlp.warehouse.tables import all_files, load_table, tables_of

DAY_S = 24 * 60 * 60


def clean_runs(
    warehouse: str,
    catalog: Catalog,
    *,
    now: datetime,
    older_than_s: float = DAY_S,
    keep_run: str | None = None,
    has_ended: Callable[[str], bool] = lambda run_id: False,
    only: Collection[str] | None = None,
) -> list[str]:
    """Remove the folders of abandoned runs and return the ids of the runs of which something was removed, sorted.

    Args:
        warehouse: URI of the warehouse.
        catalog: the warehouse's catalog, whose tables are checked.
        now: the present time, with a time zone.
        older_than_s: a run is old if its newest object was last changed more seconds ago than this.
        keep_run: id of a run that is never removed: the caller's own.
        has_ended: returns True for the id of a run that is known to have ended; its age then does not matter.
        only: ids of the runs to look at; None looks at all, which takes as long as the warehouse is large.

    Raises:
        StorageError: a table or folder cannot be read (then nothing is removed), or a folder cannot be removed.
    """
    before = now - timedelta(seconds=older_than_s)
    return remove_runs(warehouse, catalog, abandoned_runs(warehouse, before, has_ended, only) - {keep_run or ""})


def remove_runs(warehouse: str, catalog: Catalog, abandoned: Collection[str]) -> list[str]:
    """Remove the folders of these runs, and return as ``clean_runs`` does.

    Args:
        abandoned: what ``abandoned_runs`` has returned. The tables are read after that, so that a run which has
            published in between counts as referred to.

    Raises:
        StorageError: as in ``clean_runs``.
    """
    if not abandoned:
        return []
    runs, referred, removed = all_runs(warehouse), _referred_files(catalog), list[str]()
    for run_id in sorted(abandoned):
        run, files = runs.at(run_id), referred.get(run_id, set())
        unpublished = not files or only_quarantine([uri.partition(f"/{run_id}/")[2] for uri in files])
        if not unpublished or marked_catalog(run) not in (None, catalog.name):
            continue
        rest = [entry.key for entry in run.list() if not files or not only_quarantine([entry.key])]
        if files:
            run.delete(rest)
        else:
            runs.delete_folder(run_id)
        removed += [run_id] if rest else []
    return removed


def abandoned_runs(
    warehouse: str,
    before: datetime,
    has_ended: Callable[[str], bool] = lambda run_id: False,
    only: Collection[str] | None = None,
) -> set[str]:
    """Return the ids of the runs whose newest object is older than ``before``, or which have ended."""
    runs, newest = all_runs(warehouse), dict[str, datetime]()
    for entry in runs.list() if only is None else chain.from_iterable(map(runs.list, only)):
        run_id, separator, _ = entry.key.partition("/")
        if separator:
            newest[run_id] = max(entry.modified, newest.get(run_id, entry.modified))
    return {run_id for run_id, modified in newest.items() if modified < before or has_ended(run_id)}


def _referred_files(catalog: Catalog) -> dict[str, set[str]]:
    """Return the URIs of the files that any snapshot of any table refers to, by the run that wrote them."""
    found: dict[str, set[str]] = {}
    for name in tables_of(catalog):
        table = load_table(catalog, name)
        if table is None:
            raise StorageError(f"table {name} was dropped while runs were cleaned; nothing was removed: run again")
        for uri in all_files(table):
            found.setdefault(run_id_of(uri) or "", set()).add(uri)
    return found
