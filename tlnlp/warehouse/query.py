"""Run SQL over the tables of a warehouse, with an embedded DuckDB that reads the Parquet files of a snapshot.

Each table that the SQL mentions is registered as a ``pyarrow.dataset`` of the snapshot's files, with the day of each
file as its partition value. Filters and columns are pushed down into the files, the files of excluded days are not
opened, and memory does not grow with the table. A query cannot read other files, use the network, write or change
settings. It runs in a thread of its own, where a signal or a limit can stop it (``query_worker``).
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
from pyiceberg.catalog import Catalog
from pyiceberg.table import Table

from tlnlp.errors import NotFoundError, UsageError
from tlnlp.storage import local_path, resolve_uri
from tlnlp.warehouse.catalog import open_catalog
from tlnlp.warehouse.dataset import table_dataset
from tlnlp.warehouse.history import history_table
from tlnlp.warehouse.published_runs import PublishedRuns, load_tables, published_runs
from tlnlp.warehouse.query_engine import connected, explained, run_statement
from tlnlp.warehouse.query_values import json_value, rows_of
from tlnlp.warehouse.query_worker import Hold, Limits, QueryWorker
from tlnlp.warehouse.schema import HISTORY, latest_name, scores_name

FIRST_STEP = "check `warehouse`, or publish scores first: `tlnlp score` does, and `tlnlp demo` shows the whole path"


@dataclass(frozen=True)
class QueryResult:
    """The column names and all rows of a query; values are JSON types (see ``json_value``)."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]


@dataclass(frozen=True)
class QueryStream:
    """The column names and the rows of a query as a stream; ``batches`` is read once, inside ``open_query``."""

    columns: tuple[str, ...]
    batches: Iterator[pa.RecordBatch]

    def all_rows(self) -> QueryResult:
        """Return all rows of the query at once."""
        return QueryResult(
            self.columns, [tuple(map(json_value, row)) for batch in self.batches for row in rows_of(batch)]
        )


def run_query(
    warehouse: str, sql: str, *, catalog: str | None = None, snapshot: int | None = None, as_of: str | None = None
) -> QueryResult:
    """Run one read-only query and return all its rows; see ``open_query`` for arguments and errors."""
    with open_query(warehouse, sql, catalog=catalog, snapshot=snapshot, as_of=as_of) as stream:
        return stream.all_rows()


@contextmanager
def open_query(
    warehouse: str,
    sql: str,
    *,
    catalog: str | None = None,
    snapshot: int | None = None,
    as_of: str | None = None,
    limits: Limits | None = None,
) -> Iterator[QueryStream]:
    """Run one read-only query over the tables and the views ``history`` and ``latest``; yield its rows as a stream.

    A column whose name occurred before gets a number: ``label``, ``label_1``.

    Args:
        warehouse: URI of the warehouse.
        sql: one statement: SELECT, WITH, DESCRIBE or EXPLAIN.
        catalog: see ``open_catalog``.
        snapshot: id of a snapshot to read; the other tables are read as they were at its time.
        as_of: a day (meaning its last moment, UTC) or an ISO time (UTC if it has no zone) as of which to read. Without
            ``snapshot`` and ``as_of``, tables are read at their current snapshot.
        limits: the time and memory that the query may use.

    Raises:
        NotFoundError: there is no such warehouse, or nothing was ever published in it.
        UsageError: the SQL is wrong or not one read-only statement; the table, snapshot or time is unknown; or the
            query exceeded a limit.
        StorageError: a table's files cannot be read, or what was spilled cannot be written.
    """
    given = limits or Limits()
    with open_tables(lambda: _load_tables(warehouse, catalog), sql, given, snapshot=snapshot, as_of=as_of) as stream:
        yield stream


@contextmanager
def open_tables(
    load: Callable[[], dict[str, Table]],
    sql: str,
    limits: Limits,
    parameters: Sequence[object] = (),
    *,
    snapshot: int | None = None,
    as_of: str | None = None,
) -> Iterator[QueryStream]:
    """Run one read-only query over tables that ``load`` returns by their names, as ``open_query`` does.

    Args:
        load: returns the tables; it is called in the thread of the query.
        sql: the statement.
        limits: the time and memory that the query may use.
        parameters: a value for each ``?`` of the statement.
        snapshot: as in ``open_query``.
        as_of: as in ``open_query``.

    Raises:
        UsageError, StorageError: as in ``open_query``, and what ``load`` raises.
    """

    def answer(hold: Hold, spill: str) -> Generator[Any, None, None]:
        """Yield the names of the columns, then the batches."""
        tables = load()
        moment = _moment(tables, snapshot, as_of)
        latest = {latest_name(name): name for name in tables if scores_name(name) is None}
        names = [*sorted(tables), *sorted(latest), HISTORY]
        with connected(spill, limits, hold) as connection, explained(names, limits):
            views = [view for view in latest if _mentions(sql, view)]
            for name in tables:
                if _mentions(sql, name) or name in map(latest.get, views):
                    connection.register(name, _rows(tables, name, snapshot, moment))
            for view in views:
                connection.execute(_latest_view(view, latest[view]))
            if _mentions(sql, HISTORY):
                connection.register(HISTORY, history_table(tables))
            reader = run_statement(connection, sql, parameters)
            yield reader.schema.names
            yield from reader

    with (
        tempfile.TemporaryDirectory(prefix="tlnlp-query-", ignore_cleanup_errors=True) as spill,
        QueryWorker(lambda hold: answer(hold, spill), limits) as worker,
    ):
        items = iter(worker)
        yield QueryStream(_distinct(next(items)), items)


def _rows(tables: dict[str, Table], name: str, snapshot: int | None, moment: int | None) -> ds.Dataset:
    """Return the rows of a table as of a snapshot or a time, for DuckDB."""
    at = _snapshot_at(tables[name], name, snapshot, moment)
    return table_dataset(tables[name], at, _published_rows(tables, name, snapshot, moment))


def _latest_view(view: str, scores: str) -> str:
    """Return the statement that makes the view of each document's newest row."""
    newest = "row_number() over (partition by document_id order by score_date desc) = 1"
    return f'CREATE VIEW "{view}" AS SELECT * FROM "{scores}" QUALIFY {newest}'


def _distinct(names: list[str]) -> tuple[str, ...]:
    """Return the names, a repeated one with a number: a JSON object holds each name once."""
    found: list[str] = []
    for name in names:
        number, free = 1, name
        while free in found or (free != name and free in names):
            free, number = f"{name}_{number}", number + 1
        found.append(free)
    return tuple(found)


def open_existing(warehouse: str, catalog: str | None) -> Catalog:
    """Return the catalog of a warehouse. Raises NotFoundError if a folder of it does not exist; it is not created."""
    uri = resolve_uri(warehouse)
    folder = local_path(uri)
    if folder is not None and not folder.is_dir():
        raise NotFoundError(f"warehouse {uri}: there is no such folder; {FIRST_STEP}")
    return open_catalog(uri, catalog)


def _load_tables(warehouse: str, catalog: str | None) -> dict[str, Table]:
    tables = load_tables(open_existing(warehouse, catalog))
    if not tables:
        raise NotFoundError(f"warehouse {resolve_uri(warehouse)}: nothing has been published in it yet; {FIRST_STEP}")
    return tables


def _mentions(sql: str, name: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", sql, re.IGNORECASE) is not None


def _moment(tables: dict[str, Table], snapshot: int | None, as_of: str | None) -> int | None:
    """Return the time to read at, in milliseconds since 1970, UTC; None for the current snapshots."""
    if snapshot is not None and as_of is not None:
        raise UsageError("query: both a snapshot and a time were given; give one of the two")
    if snapshot is not None:
        for table in tables.values():
            if found := table.snapshot_by_id(snapshot):
                return found.timestamp_ms
        raise UsageError(
            f"no table has a snapshot {snapshot}, or it has expired; list the snapshots with: select * from {HISTORY}"
        )
    if as_of is None:
        return None
    try:
        if len(as_of) <= len("2026-01-31"):
            given = datetime.combine(date.fromisoformat(as_of) + timedelta(days=1), time(), UTC)
            return int(given.timestamp() * 1000) - 1
        given = datetime.fromisoformat(as_of)
    except ValueError as error:
        raise UsageError(
            f"{as_of!r} is not a day or an ISO time; write for example 2026-01-31 or 2026-01-31T04:00:00+00:00"
        ) from error
    aware = given if given.tzinfo else given.replace(tzinfo=UTC)
    return int(aware.timestamp() * 1000)


def _published_rows(
    tables: dict[str, Table], name: str, snapshot: int | None, moment: int | None
) -> Callable[[date | None], ds.Expression] | None:
    """Return the condition for rows of a quarantine that a published run has written; None for another table."""
    scores = tables.get(scores_name(name) or "")
    if scores is None:
        return None
    if moment is not None and scores.snapshot_as_of_timestamp(moment) is None:
        return PublishedRuns({}, complete=True).rows_of  # Nothing had been published at that time.
    return published_runs(scores, _snapshot_at(scores, name, snapshot, moment)).rows_of


def _snapshot_at(table: Table, name: str, snapshot: int | None, moment: int | None) -> int | None:
    if moment is None:
        return None
    if snapshot is not None and table.snapshot_by_id(snapshot):
        return snapshot
    found = table.snapshot_as_of_timestamp(moment)
    if found is None:
        when = datetime.fromtimestamp(moment / 1000, UTC).isoformat(timespec="seconds")
        raise UsageError(
            f"table {name} had no snapshot at {when}, or it has expired; list the snapshots with: select * from "
            f"{HISTORY}"
        )
    return found.snapshot_id
