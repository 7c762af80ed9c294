"""Keep what a warehouse holds beside its rows small, so that the time of a night does not grow with the history.

    quarantine rows of dead runs    removed, as long as the snapshots say which runs have published
    manifests                       merged: each commit adds one
    snapshots                       expired once they are old; queries as of such a time are then refused
    files                           removed, if they are old and no snapshot refers to them

Maintenance changes no row that a reader sees. It may run beside nights, and may be stopped at any time.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pyiceberg.catalog import Catalog
from pyiceberg.expressions import AlwaysTrue
from pyiceberg.manifest import ManifestFile
from pyiceberg.table import Table
from pyiceberg.table.snapshots import ancestors_of

from tlnlp.errors import NotFoundError, StorageError
from tlnlp.storage import Storage, resolve_uri
from tlnlp.storage.causes import reason_of
from tlnlp.warehouse.clean import abandoned_runs, remove_runs
from tlnlp.warehouse.commit import commit, commit_in_turn, overwrite, settling
from tlnlp.warehouse.published_runs import published_runs
from tlnlp.warehouse.run_folder import run_id_of
from tlnlp.warehouse.schema import quarantine_name, state_name
from tlnlp.warehouse.staged import partition_day
from tlnlp.warehouse.state_table import source_snapshot, state_storage
from tlnlp.warehouse.table_definition import TABLE_PROPERTIES
from tlnlp.warehouse.tables import all_files, all_manifests, load_table, maintenance_summary, planned_files, tables_of

# Fewer manifests of less than half the size of merged ones are not worth a commit.
LEAST_MANIFESTS = 8
# A state that lags behind by more snapshots than this does not keep them from expiring. It is then made anew.
MOST_KEPT_FOR_STATE = 100
# The current snapshot of a state, and the one before it, which a night may still read.
_STATE_SNAPSHOTS = 2


@dataclass(frozen=True)
class Maintained:
    """What maintenance has done.

    Fields:
        tables: number of tables.
        rows_removed: quarantine rows of runs that died before they published; no reader has seen them.
        manifests_before, manifests_after: manifests of the current snapshots of all tables.
        snapshots_expired, files_removed: their numbers.
        runs_removed: ids of the runs of whose folder something was removed.
    """

    tables: int
    rows_removed: int
    manifests_before: int
    manifests_after: int
    snapshots_expired: int
    files_removed: int
    runs_removed: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the fields by name."""
        return vars(self) | {"runs_removed": list(self.runs_removed)}

    def facts(self) -> dict[str, Any]:
        """Return what a terminal shows."""
        return vars(self) | {"runs_removed": len(self.runs_removed)}


def maintain(
    warehouse: str, catalog: Catalog, *, now: datetime, keep_days: float = 30.0, dead_after_h: float = 24.0
) -> Maintained:
    """Merge manifests, expire old snapshots, and remove files that nothing refers to.

    Args:
        warehouse: URI of the warehouse.
        catalog: its catalog.
        now: the present time, with a time zone.
        keep_days: snapshots that are older than so many days expire, except the current ones.
        dead_after_h: an object of a run that was last changed more hours ago belongs to no live run.

    Raises:
        NotFoundError: nothing was ever published in the warehouse.
        StorageError: the store failed, or other commits came first too many times; what was done before stays done.
    """
    names, dead = tables_of(catalog), now - timedelta(hours=dead_after_h)
    if not names:
        raise NotFoundError(f"warehouse {warehouse}: nothing has been published in it yet; check `warehouse`")
    scores = [name for name in names if {quarantine_name(name), state_name(name)} & set(names)]
    abandoned = abandoned_runs(warehouse, dead)
    rows = sum(_remove_unpublished(catalog, name, abandoned) for name in scores if quarantine_name(name) in names)
    before = sum(_manifest_count(catalog, name) for name in names)
    for name in names:
        _merge_manifests(catalog, name)
    expired = sum(_expire(catalog, name, scores, now - timedelta(days=keep_days)) for name in names)
    files = sum(_remove_metadata(catalog, name, warehouse, dead) for name in names)
    files += sum(_remove_states(catalog, name, warehouse, dead) for name in scores)
    return Maintained(
        tables=len(names),
        rows_removed=rows,
        manifests_before=before,
        manifests_after=sum(_manifest_count(catalog, name) for name in names),
        snapshots_expired=expired,
        files_removed=files,
        runs_removed=tuple(remove_runs(warehouse, catalog, abandoned)),
    )


def _remove_unpublished(catalog: Catalog, scores: str, abandoned: Collection[str]) -> int:
    """Remove the quarantine rows of dead runs that never published; return their number."""
    name = quarantine_name(scores)

    def attempt() -> int:
        """Commit without these rows if there are any; return their number."""
        published, table = load_table(catalog, scores), load_table(catalog, name)
        if published is None or table is None:
            return 0
        runs = published_runs(published)
        rest = []
        for file in planned_files(table, table.scan()):
            day, run_id = partition_day(file), run_id_of(file.file_path)
            if day is not None and run_id in abandoned and not runs.includes(day, run_id):
                rest.append(file)
        if not rest:
            return 0
        transaction = table.transaction()
        commit(overwrite(transaction, maintenance_summary(), AlwaysTrue(), rest), transaction)
        return sum(file.record_count for file in rest)

    return commit_in_turn(attempt, lambda cause: _failed(name, cause))


def _merge_manifests(catalog: Catalog, name: str) -> None:
    """Merge the small manifests of a table if they are many."""

    def attempt() -> None:
        """Commit once, and give a table that an earlier tlnlp made the properties that it lacks."""
        table = load_table(catalog, name)
        if table is None:
            return
        properties = TABLE_PROPERTIES | table.properties
        small = int(properties["commit.manifest.target-size-bytes"]) // 2
        if sum(manifest.manifest_length < small for manifest in _manifests(table)) < LEAST_MANIFESTS:
            return
        transaction = table.transaction()
        if properties != table.properties:
            transaction.set_properties(properties)
        # Appending no file writes the manifests anew, merged, without the entries of files that were removed.
        commit(transaction.update_snapshot(snapshot_properties=maintenance_summary()).merge_append(), transaction)

    commit_in_turn(attempt, lambda cause: _failed(name, cause))


def _expire(catalog: Catalog, name: str, scores: Collection[str], before: datetime) -> int:
    """Expire the snapshots of a table that are older than ``before`` and not needed; return their number."""
    is_state = name in {state_name(table) for table in scores}

    def attempt() -> int:
        """Commit without these snapshots; return their number."""
        table = load_table(catalog, name)
        if table is None:
            return 0
        chain = [snapshot.snapshot_id for snapshot in ancestors_of(table.current_snapshot(), table.metadata)]
        newest = sorted(table.snapshots(), key=lambda snapshot: snapshot.sequence_number or 0)
        kept = {*chain[:1], *(ref.snapshot_id for ref in table.refs().values())}
        kept.update(snapshot.snapshot_id for snapshot in newest[-_STATE_SNAPSHOTS:] if is_state)
        source = source_snapshot(catalog, name) if name in scores else None
        if source in chain[:MOST_KEPT_FOR_STATE]:
            kept.update(chain[: chain.index(source) + 1])
        limit = before.timestamp() * 1000
        old = [
            snapshot.snapshot_id
            for snapshot in table.snapshots()
            if snapshot.snapshot_id not in kept and (is_state or snapshot.timestamp_ms < limit)
        ]
        if old:
            with settling():
                table.maintenance.expire_snapshots().by_ids(old).commit()
        return len(old)

    return commit_in_turn(attempt, lambda cause: _failed(name, cause))


def _remove_metadata(catalog: Catalog, name: str, warehouse: str, before: datetime) -> int:
    """Remove old manifests and lists of manifests that no snapshot of the table refers to; return their number."""
    table = load_table(catalog, name)
    if table is None or not table.location().startswith(resolve_uri(warehouse)):
        return 0
    storage = Storage(f"{table.location().rstrip('/')}/metadata")
    found = [entry.key for entry in storage.list() if entry.key.endswith(".avro") and entry.modified < before]
    # The table is loaded after the listing. The names are unique, and URIs may be spelled in several ways.
    table = load_table(catalog, name)
    if table is None or not found:
        return 0
    used = {_base_name(snapshot.manifest_list) for snapshot in table.snapshots()}
    used |= {_base_name(manifest.manifest_path) for manifest in all_manifests(table)}
    unused = [key for key in found if _base_name(key) not in used]
    storage.delete(unused)
    return len(unused)


def _remove_states(catalog: Catalog, scores: str, warehouse: str, before: datetime) -> int:
    """Remove old files of the state that no snapshot of it refers to; return their number."""
    storage = state_storage(warehouse, scores)
    found = [entry.key for entry in storage.list() if entry.modified < before]
    table = load_table(catalog, state_name(scores)) if found else None
    used = {_base_name(uri) for uri in all_files(table)} if table else set()
    unused = [key for key in found if _base_name(key) not in used]
    storage.delete(unused)
    return len(unused)


def _manifest_count(catalog: Catalog, name: str) -> int:
    return len(_manifests(load_table(catalog, name)))


def _manifests(table: Table | None) -> list[ManifestFile]:
    """Return the manifests of the current snapshot of a table (None: it does not exist)."""
    snapshot = table.current_snapshot() if table else None
    return snapshot.manifests(table.io) if table and snapshot else []


def _base_name(uri: str) -> str:
    return uri.rsplit("/", 1)[-1]


def _failed(name: str, cause: Exception) -> StorageError:
    return StorageError(
        f"table {name}: maintenance could not commit ({reason_of(cause)}); no row has changed; run it again"
    )
