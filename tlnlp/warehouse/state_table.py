"""The state of a table of scores: the newest row of each document, in an Iceberg table of its own.

A night compares its documents with what earlier nights have scored. The state spares it reading all of these nights:

    <table>_state    one row for each document, its newest, of the days up to ``through``

The state is derived. Its snapshot names the snapshot of the scores that it was made from. Days after ``through`` are
read from the scores themselves. If a day up to ``through`` was published again, or the table was changed by another
engine, the state does not hold any more, and is made anew from the scores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date

from pyiceberg.catalog import Catalog
from pyiceberg.expressions import AlwaysTrue
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table, Transaction
from pyiceberg.table.snapshots import ancestors_of
from pyiceberg.table.update.snapshot import ExpireSnapshots

from tlnlp.errors import StorageError
from tlnlp.storage import Storage
from tlnlp.storage.causes import reason_of
from tlnlp.warehouse.commit import commit_in_turn, overwrite, settling
from tlnlp.warehouse.schema import SCORES, columns_of, state_name
from tlnlp.warehouse.staged import parquet_entry
from tlnlp.warehouse.table_definition import add_kept, create_table
from tlnlp.warehouse.tables import PREFIX, is_maintenance, load_table, planned_files, summary_of

_FOOTER_READERS = 8
_SNAPSHOT, _THROUGH = f"{PREFIX}scores-snapshot-id", f"{PREFIX}through"


@dataclass(frozen=True)
class State:
    """The newest row of each document on the days up to ``through``.

    Fields:
        files: URIs of the Parquet files that hold the rows. Some are files of the scores.
        rows: number of rows.
        through: the last day.
    """

    files: tuple[str, ...]
    rows: int
    through: date


def state_storage(warehouse: str, table: str) -> Storage:
    """Return the storage of the files that merging has written for a table of scores."""
    return Storage(warehouse).at(f"state/{table}")


def read_state(catalog: Catalog, scores: Table) -> State | None:
    """Return the state of a table of scores; None if there is none that holds. Raises StorageError."""
    table = load_table(catalog, state_name(scores.name()[-1]))
    summary = _summary(table)
    if table is None or not {_SNAPSHOT, _THROUGH} <= summary.keys():
        return None
    through = date.fromisoformat(summary[_THROUGH])
    changed = days_since(scores, int(summary[_SNAPSHOT]))
    if changed is None or any(day <= through for day in changed):
        return None
    files = planned_files(table, table.scan())
    return State(tuple(sorted(file.file_path for file in files)), sum(file.record_count for file in files), through)


def days_since(scores: Table, snapshot_id: int) -> set[date] | None:
    """Return the days that were published after a snapshot; None if something else changed, or it is not known."""
    days: set[date] = set()
    for snapshot in ancestors_of(scores.current_snapshot(), scores.metadata):
        if snapshot.snapshot_id == snapshot_id:
            return days
        day = summary_of(snapshot).get(f"{PREFIX}score-date")
        if day is not None:
            days.add(date.fromisoformat(day))
        elif not is_maintenance(snapshot):
            return None
    return None


def source_snapshot(catalog: Catalog, scores: str) -> int | None:
    """Return the snapshot of the scores that the state of this table was made from; None without a state."""
    found = _summary(load_table(catalog, state_name(scores))).get(_SNAPSHOT)
    return None if found is None else int(found)


def replace_state(catalog: Catalog, scores: Table, files: Sequence[str], through: date) -> None:
    """Let the state hold the rows of these files, in one commit.

    Args:
        catalog: the catalog of the tables.
        scores: the table of scores, at the snapshot that the rows were read from.
        files: URIs of Parquet files that hold one row for each document.
        through: the last day that was read.

    Raises:
        EngineError: a file does not fit the table.
        StorageError: the store failed, or other commits came first too many times.
    """
    name, snapshot = state_name(scores.name()[-1]), scores.current_snapshot()
    assert snapshot is not None, "a state is made of published days"
    own = {column.name for column in SCORES}
    kept = [column for column in columns_of(scores.schema()) if column.name not in own]
    owner = {key: scores.properties.get(PREFIX + key, "") for key in ("source", "model")}
    summary = {_SNAPSHOT: str(snapshot.snapshot_id), _THROUGH: through.isoformat()}

    def attempt() -> None:
        """Commit the files in the place of all others."""
        table = load_table(catalog, name)
        if table is None:
            transaction = create_table(catalog, name, **owner, columns=SCORES, kept=kept, by_day=False)
        else:
            transaction = table.transaction()
            add_kept(transaction, table.schema(), name, SCORES, kept)
        io, metadata = transaction._table.io, transaction.table_metadata  # no public attribute gives the table
        with ThreadPoolExecutor(_FOOTER_READERS) as pool:
            new = list(pool.map(lambda uri: parquet_entry(io, metadata, uri), files))
        old = planned_files(table, table.scan()) if table else []
        _commit_alone(transaction, summary, old, new)

    commit_in_turn(attempt, lambda cause: StorageError(f"table {name}: the commit failed ({reason_of(cause)})"))


def _commit_alone(
    transaction: Transaction, summary: Mapping[str, str], old: Sequence[DataFile], new: Sequence[DataFile]
) -> None:
    """Replace all files of the state in one commit, after which it has this snapshot and the one before it alone.

    A night that has begun before may still read what the snapshot before it names.
    """
    before = transaction.table_metadata.current_snapshot()
    with settling():
        overwrite(transaction, summary, AlwaysTrue(), old, new).commit()
        # Appending no file leaves out the manifests that list removed files alone; all later nights would read them.
        update = transaction.update_snapshot(snapshot_properties=dict(summary)).fast_append()
        update.commit()
        kept = {update.snapshot_id, before.snapshot_id if before else update.snapshot_id}
        others = [one.snapshot_id for one in transaction.table_metadata.snapshots if one.snapshot_id not in kept]
        ExpireSnapshots(transaction).by_ids(others).commit()
        transaction.commit_transaction()


def _summary(state: Table | None) -> dict[str, str]:
    snapshot = state.current_snapshot() if state else None
    return summary_of(snapshot) if snapshot else {}
