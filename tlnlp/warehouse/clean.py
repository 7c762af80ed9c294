"""Remove the folders of abandoned runs: staged files that no table refers to and no process still writes.

A run's folder holds staged files, which are the table's own data once they are published. So a folder is removed
only if its newest object is old (or its run is known to have ended), if it was not staged for another catalog, and if
no snapshot of any table, current or past, refers to a file in it. Of a run that was killed when only its quarantine was
committed, the rest of the folder is removed.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from pyiceberg.catalog import Catalog
from pyiceberg.manifest import ManifestFile

from tlnlp.errors import StorageError
from tlnlp.storage import Storage
from tlnlp.storage.causes import described
from tlnlp.warehouse.run_folder import all_runs, marked_catalog, only_quarantine, run_id_of
from tlnlp.warehouse.tables import load_table, tables_of

DAY_S = 24 * 60 * 60


def clean_runs(
    warehouse: str,
    catalog: Catalog,
    *,
    now: datetime,
    older_than_s: float = DAY_S,
    keep_run: str | None = None,
    has_ended: Callable[[str], bool] = lambda run_id: False,
) -> list[str]:
    """Remove the folders of abandoned runs and return the ids of the runs of which something was removed, sorted.

    Args:
        warehouse: URI of the warehouse.
        catalog: the warehouse's catalog, whose tables are checked.
        now: the present time, with a time zone.
        older_than_s: a run is old if its newest object was last changed more seconds ago than this.
        keep_run: id of a run that is never removed: the caller's own.
        has_ended: returns True for the id of a run that is known to have ended; its age then does not matter.

    Raises:
        StorageError: a table or folder cannot be read (then nothing is removed), or a folder cannot be removed.
    """
    runs = all_runs(warehouse)
    candidates = _abandoned_runs(runs, now - timedelta(seconds=older_than_s), has_ended) - {keep_run or ""}
    if not candidates:
        return []
    # Tables are read after the ages, so that a run published in between counts as referred to.
    referred = _referred_files(catalog)
    removed = []
    for run_id in sorted(candidates):
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


def _abandoned_runs(runs: Storage, before: datetime, has_ended: Callable[[str], bool]) -> set[str]:
    newest: dict[str, datetime] = {}
    for entry in runs.list():
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
        manifests: dict[str, ManifestFile] = {}
        try:
            for snapshot in table.snapshots():
                manifests |= {manifest.manifest_path: manifest for manifest in snapshot.manifests(table.io)}
            for manifest in manifests.values():
                for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True):
                    uri = entry.data_file.file_path
                    found.setdefault(run_id_of(uri) or "", set()).add(uri)
        except (OSError, ValueError) as error:
            raise StorageError(
                f"table {name}: the manifests of its snapshots cannot be read, so nothing was removed "
                f"{described(error)}; restore the files under tables/ if one is gone"
            ) from error
    return found
