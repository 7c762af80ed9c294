"""List the published nights of a table of scores, and query the table as it was at that moment."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

import pyarrow as pa
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot, ancestors_of

from tlnlp.errors import NotFoundError
from tlnlp.storage import resolve_uri
from tlnlp.warehouse.dataset import table_dataset
from tlnlp.warehouse.history import COUNTS
from tlnlp.warehouse.published_runs import load_pair, scores_tables
from tlnlp.warehouse.query import FIRST_STEP, QueryStream, open_existing, open_tables
from tlnlp.warehouse.query_worker import Limits
from tlnlp.warehouse.schema import EVIDENCE, SCORES, Column, columns_of, quarantine_name
from tlnlp.warehouse.staged import partition_day
from tlnlp.warehouse.tables import PREFIX, planned_files, summary_of


@dataclass(frozen=True)
class Night:
    """A published day.

    Fields:
        day: the day, ``score_date``.
        rows: the rows that the table holds of it.
        token: a digest of the day's files; it changes when the day is published again.
        run_id: the run that published it; None where its snapshot has expired, as for the fields below.
        model_version: the version that scored it.
        mode: ``full`` or ``incremental``.
        committed_at: when it was published.
        counts: the rows of the run by outcome, by the names in ``COUNTS``.
    """

    day: date
    rows: int
    token: str
    run_id: str | None = None
    model_version: int | None = None
    mode: str | None = None
    committed_at: datetime | None = None
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class ScoresTable:
    """A table of scores with its quarantine, as they were at one moment.

    Fields:
        name: name of the table.
        quarantine: name of its quarantine; None if there is none.
        source: name of the source of the documents.
        model: name of the model.
        columns: the columns.
        nights: the published nights, the newest first.
        tables: both tables by name.
    """

    name: str
    quarantine: str | None
    source: str
    model: str
    columns: tuple[Column, ...]
    nights: tuple[Night, ...]
    tables: Mapping[str, Table]

    @property
    def kept(self) -> tuple[Column, ...]:
        """Return the kept columns."""
        own = {column.name for column in (*SCORES, EVIDENCE)}
        return tuple(column for column in self.columns if column.name not in own)

    @property
    def arrow_schema(self) -> pa.Schema:
        """Return the columns as the rows of a query of all columns have them."""
        return table_dataset(self.tables[self.name]).schema

    def night(self, day: date | None = None) -> Night | None:
        """Return the night of a day (None: the newest); None if no such night was published."""
        return next((night for night in self.nights if day in (None, night.day)), None)

    def before(self, night: Night) -> Night | None:
        """Return the night before another one; None if that is the first."""
        return next((one for one in self.nights if one.day < night.day), None)

    @contextmanager
    def open_query(self, sql: str, parameters: Sequence[object], limits: Limits) -> Iterator[QueryStream]:
        """Run one read-only query over both tables. Raises UsageError, StorageError, as ``query.open_query`` does."""
        with open_tables(lambda: dict(self.tables), sql, limits, parameters) as stream:
            yield stream


def read_scores(warehouse: str, catalog: str | None, table: str, known: ScoresTable | None = None) -> ScoresTable:
    """Return a table of scores and its nights as they are now.

    Args:
        warehouse: URI of the warehouse.
        catalog: see ``open_catalog``.
        table: name of the table.
        known: what an earlier call returned; it is returned again if neither table has changed.

    Raises:
        NotFoundError: there is no such warehouse or table.
        StorageError: the store failed.
    """
    opened = open_existing(warehouse, catalog)
    beside = quarantine_name(table)
    tables = {name: found for name, found in load_pair(opened, table, beside).items() if found is not None}
    if table not in tables:
        others = scores_tables(opened)
        has = f"it has {', '.join(others)}" if others else "nothing has been published in it yet"
        raise NotFoundError(f"warehouse {resolve_uri(warehouse)}: there is no table {table} ({has}); {FIRST_STEP}")
    if known is not None and _locations(known.tables) == _locations(tables):
        return known
    scores = tables[table]
    return ScoresTable(
        table,
        beside if beside in tables else None,
        scores.properties.get(f"{PREFIX}source", ""),
        scores.properties.get(f"{PREFIX}model", ""),
        columns_of(scores.schema()),
        _nights(scores),
        tables,
    )


def _locations(tables: Mapping[str, Table]) -> dict[str, str]:
    return {name: table.metadata_location for name, table in tables.items()}


def _nights(scores: Table) -> tuple[Night, ...]:
    """Return the nights by the table's files and by the snapshots that published them, the newest first."""
    published: dict[date, Snapshot] = {}
    for snapshot in ancestors_of(scores.current_snapshot(), scores.metadata):
        if day := summary_of(snapshot).get(f"{PREFIX}score-date"):
            published.setdefault(date.fromisoformat(day), snapshot)
    files: dict[date, list[tuple[str, int]]] = {day: [] for day in published}
    for file in planned_files(scores, scores.scan()):
        if (found := partition_day(file)) is not None:
            files.setdefault(found, []).append((file.file_path, file.record_count))
    return tuple(_night(day, files[day], published.get(day)) for day in sorted(files, reverse=True))


def _night(day: date, files: list[tuple[str, int]], snapshot: Snapshot | None) -> Night:
    digest = hashlib.sha256("\n".join(sorted(path for path, _ in files)).encode()).hexdigest()[:32]
    summary = summary_of(snapshot) if snapshot else {}
    whole = {key: value for key, value in summary.items() if value.isdecimal()}
    counts = {name: f"{PREFIX}{name.replace('_', '-')}" for name in COUNTS}
    version = whole.get(f"{PREFIX}model-version")
    return Night(
        day,
        sum(rows for _, rows in files),
        digest,
        summary.get(f"{PREFIX}run-id"),
        int(version) if version else None,
        summary.get(f"{PREFIX}mode"),
        datetime.fromtimestamp(snapshot.timestamp_ms / 1000, UTC) if snapshot else None,
        {name: int(whole[key]) for name, key in counts.items() if key in whole},
    )
