"""Look up a table and its snapshots, days and files; shared by publishing, cleaning and querying."""

from __future__ import annotations

import hashlib
from datetime import date

from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import NoSuchNamespaceError, NoSuchTableError
from pyiceberg.expressions import BooleanExpression
from pyiceberg.expressions.parser import parse
from pyiceberg.manifest import DataFile, ManifestFile
from pyiceberg.table import DataScan, Table
from pyiceberg.table.snapshots import Snapshot, ancestors_of

from tlnlp.errors import StorageError
from tlnlp.storage.causes import described
from tlnlp.warehouse.schema import NAMESPACE, SCORE_DATE

PREFIX = "tlnlp."
# Marks the snapshots of maintenance, which change no row.
_MAINTENANCE = f"{PREFIX}maintenance"


def day_token(catalog: Catalog, table: str, score_date: date) -> str:
    """Return a token of a day's content; it changes when that day is published, and not when another is.

    Raises:
        StorageError: the store failed.
    """
    return token_of(load_table(catalog, table), score_date)


def load_table(catalog: Catalog, table: str) -> Table | None:
    """Return the table as it is now; None if nothing has been published under that name."""
    try:
        return catalog.load_table((NAMESPACE, table))
    except (NoSuchTableError, NoSuchNamespaceError):
        return None


def is_day(score_date: date) -> BooleanExpression:
    """Return Iceberg's filter expression for the rows of a day."""
    return parse(f"{SCORE_DATE} == '{score_date.isoformat()}'")


def day_files(table: Table, score_date: date, snapshot_id: int | None = None) -> list[DataFile]:
    """Return the data files of a day in a snapshot (None: the current one). Raises StorageError."""
    return planned_files(table, table.scan(row_filter=is_day(score_date), snapshot_id=snapshot_id))


def planned_files(table: Table, scan: DataScan) -> list[DataFile]:
    """Return the data files that a scan of the table reads. Raises StorageError."""
    try:
        return [task.file for task in scan.plan_files()]
    except OSError as error:
        raise StorageError(
            f"table {table.name()[-1]}: its list of files cannot be read {described(error)}, and that nothing under "
            "tables/ was removed"
        ) from error


def all_manifests(table: Table) -> list[ManifestFile]:
    """Return the manifests of all snapshots of the table, each once. Raises StorageError."""
    try:
        found = {one.manifest_path: one for snapshot in table.snapshots() for one in snapshot.manifests(table.io)}
    except (OSError, ValueError) as error:
        raise _unreadable(table, error) from error
    return list(found.values())


def all_files(table: Table) -> set[str]:
    """Return the URIs of the data files that any snapshot of the table refers to. Raises StorageError."""
    try:
        return {
            entry.data_file.file_path
            for manifest in all_manifests(table)
            for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True)
        }
    except (OSError, ValueError) as error:
        raise _unreadable(table, error) from error


def last_publish(table: Table, score_date: date) -> Snapshot | None:
    """Return the latest snapshot that published the day; None if there is none, or it has expired."""
    for snapshot in ancestors_of(table.current_snapshot(), table.metadata):
        if summary_of(snapshot).get(f"{PREFIX}score-date") == score_date.isoformat():
            return snapshot
    return None


def summary_of(snapshot: Snapshot) -> dict[str, str]:
    """Return the snapshot's summary without its operation; empty if it has none."""
    return dict(snapshot.summary.additional_properties) if snapshot.summary else {}


def run_ids(table: Table) -> set[str]:
    """Return the ids of the runs that the snapshots of the table name."""
    return {summary_of(snapshot).get(f"{PREFIX}run-id", "") for snapshot in table.snapshots()}


def maintenance_summary() -> dict[str, str]:
    """Return the summary of a snapshot that changes no row (see ``is_maintenance``)."""
    return {_MAINTENANCE: "true"}


def is_maintenance(snapshot: Snapshot) -> bool:
    """Return whether maintenance has made the snapshot, so that its rows are those of its parent."""
    return _MAINTENANCE in summary_of(snapshot)


def token_of(table: Table | None, score_date: date) -> str:
    """Return ``day_token`` for a table that is already loaded (None: the table does not exist)."""
    snapshot = last_publish(table, score_date) if table else None
    paths = sorted(file.file_path for file in day_files(table, score_date)) if table else []
    digest = hashlib.sha256("\n".join(paths).encode()).hexdigest()[:16]
    return f"{snapshot.snapshot_id if snapshot else 'never'}-{digest}"


def tables_of(catalog: Catalog) -> list[str]:
    """Return the names of the catalog's tables, sorted; empty if nothing was ever published."""
    try:
        return sorted(identifier[-1] for identifier in catalog.list_tables(NAMESPACE))
    except NoSuchNamespaceError:
        return []


def _unreadable(table: Table, error: Exception) -> StorageError:
    return StorageError(
        f"table {table.name()[-1]}: the manifests of its snapshots cannot be read, so nothing was removed "
        f"{described(error)}; restore the files under tables/ if one is gone"
    )
