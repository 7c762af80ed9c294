"""Remove the folders of dead runs: staged files that no snapshot of any table refers to, and nobody writes any more.

``runs/<run_id>/`` holds staged files and, once published, the table's own data, so a folder goes only if every doubt is
settled: its newest object is old, it was never meant for another catalog, and no snapshot that any table still keeps
(not just the current one) refers to a file in it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta

from pyiceberg.catalog import Catalog
from pyiceberg.manifest import ManifestFile

from tlnlp.errors import NotFoundError, StorageError
from tlnlp.storage import Storage, join_uri
from tlnlp.warehouse.staged import MARKER, run_id_of
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
    """Remove the dead runs of a warehouse; returns their ids, sorted. ``keep_run`` (the one at work) always stays.

    ``now`` is an aware time; a run is old when its newest object was last changed ``older_than_s`` seconds before.
    ``has_ended`` may know of a younger run that it is dead.

    Raises:
        StorageError: a table or folder cannot be read (then nothing is removed), or a folder cannot be removed.
    """
    runs = Storage(join_uri(warehouse, "runs"))
    candidates = _dead_runs(runs, now - timedelta(seconds=older_than_s), has_ended) - {keep_run or ""}
    if not candidates:
        return []
    # Tables are read after the ages: what was published in between is then seen as referred to.
    dead = candidates - _referred_runs(catalog)
    removed = sorted(run_id for run_id in dead if _marked_for(runs, run_id) in (None, catalog.name))
    for run_id in removed:
        runs.delete_folder(run_id)
    return removed


def _dead_runs(runs: Storage, before: datetime, has_ended: Callable[[str], bool]) -> set[str]:
    newest: dict[str, datetime] = {}
    for entry in runs.list():
        run_id, separator, _ = entry.key.partition("/")
        if separator:
            newest[run_id] = max(entry.modified, newest.get(run_id, entry.modified))
    return {run_id for run_id, modified in newest.items() if modified < before or has_ended(run_id)}


def _referred_runs(catalog: Catalog) -> set[str]:
    found: set[str] = set()
    for name in tables_of(catalog):
        table = load_table(catalog, name)
        if table is None:
            raise StorageError(f"table {name} vanished while runs were cleaned; nothing was removed: try again")
        manifests: dict[str, ManifestFile] = {}
        try:
            for snapshot in table.snapshots():
                manifests |= {manifest.manifest_path: manifest for manifest in snapshot.manifests(table.io)}
            for manifest in manifests.values():
                for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True):
                    found |= {run_id_of(entry.data_file.file_path) or ""}
        except (OSError, ValueError) as error:
            raise StorageError(
                f"table {name}: what its snapshots refer to cannot be read ({type(error).__name__}), so nothing was "
                "removed; restore the files under tables/, or run again when the store answers"
            ) from error
    return found


def _marked_for(runs: Storage, run_id: str) -> str | None:
    try:
        marker = json.loads(runs.read(f"{run_id}/{MARKER}"))
    except NotFoundError:
        return None
    except ValueError:
        return "?"  # unreadable: leave the folder to a person
    return str(marker.get("catalog", "?"))
