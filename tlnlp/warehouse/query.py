"""Run SQL over the tables of a warehouse, with an embedded DuckDB that reads the Parquet files of a snapshot.

Each table that the SQL mentions is registered as a ``pyarrow.dataset`` of the snapshot's files, with the day of each
file as its partition value. Filters and columns are pushed down into the files, the files of excluded days are not
opened, and memory does not grow with the table. A query cannot read other files, use the network or change settings.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import duckdb
import pyarrow as pa
from pyiceberg.table import Table

from tlnlp.errors import NotFoundError, StorageError, UsageError
from tlnlp.storage import local_path, resolve_uri
from tlnlp.warehouse.catalog import open_catalog
from tlnlp.warehouse.dataset import table_dataset
from tlnlp.warehouse.history import history_table
from tlnlp.warehouse.schema import HISTORY
from tlnlp.warehouse.tables import load_table, tables_of

_BATCH_ROWS = 10_000
_READ_ONLY = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN)


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


def run_query(
    warehouse: str, sql: str, *, catalog: str | None = None, snapshot: int | None = None, as_of: str | None = None
) -> QueryResult:
    """Run one read-only query and return all its rows; see ``open_query`` for arguments and errors."""
    with open_query(warehouse, sql, catalog=catalog, snapshot=snapshot, as_of=as_of) as stream:
        return QueryResult(stream.columns, [row for batch in stream.batches for row in json_rows(batch)])


@contextmanager
def open_query(
    warehouse: str, sql: str, *, catalog: str | None = None, snapshot: int | None = None, as_of: str | None = None
) -> Iterator[QueryStream]:
    """Run one read-only query over the tables and the view ``history``, and yield its rows as a stream.

    Args:
        warehouse: URI of the warehouse.
        sql: one statement: SELECT, WITH, DESCRIBE or EXPLAIN.
        catalog: see ``open_catalog``.
        snapshot: id of a snapshot to read; the other tables are read as they were at its time.
        as_of: a day (meaning its last moment, UTC) or an ISO time (UTC if it has no zone) as of which to read. Without
            ``snapshot`` and ``as_of``, tables are read at their current snapshot.

    Raises:
        NotFoundError: there is no such warehouse, or nothing was ever published in it.
        UsageError: the SQL is wrong or not one read-only statement; or the table, snapshot or time is unknown.
        StorageError: a table's files cannot be read.
    """
    tables = _load_tables(warehouse, catalog)
    moment = _moment(tables, snapshot, as_of)
    mentioned = {name: table for name, table in tables.items() if _mentions(sql, name)}
    with tempfile.TemporaryDirectory(prefix="tlnlp-query-") as spill, _connect(spill) as connection:
        with _explained(tables):
            for name, table in mentioned.items():
                connection.register(name, table_dataset(table, _snapshot_at(table, name, snapshot, moment)))
            if _mentions(sql, HISTORY):
                connection.register(HISTORY, history_table(tables))
            connection.execute("SET enable_external_access=false")
            connection.execute("SET lock_configuration=true")
            reader = _run(connection, sql)
        yield QueryStream(tuple(reader.schema.names), _batches(reader, tables))


def json_rows(batch: pa.RecordBatch) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a batch; values are JSON types (see ``json_value``)."""
    columns = [batch.column(number) for number in range(batch.num_columns)]
    lists = [[json_value(value.as_py(maps_as_pydicts="lossy")) for value in column] for column in columns]
    yield from zip(*lists, strict=True)


def json_value(value: Any) -> Any:
    """Return a value in JSON types.

    Dates and times become ISO 8601 text, decimals int or float, bytes hex text; NaN and infinity become None.
    """
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, date | time):  # datetime is a subclass of date
        return value.isoformat()
    if isinstance(value, timedelta):
        return str(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {str(key): json_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_value(item) for item in value]
    return value


def _load_tables(warehouse: str, catalog: str | None) -> dict[str, Table]:
    uri = resolve_uri(warehouse)
    folder = local_path(uri)
    if folder is not None and not folder.is_dir():
        raise NotFoundError(f"warehouse {uri}: there is no such folder; check `warehouse`, or score documents first")
    opened = open_catalog(uri, catalog)
    loaded = {name: load_table(opened, name) for name in tables_of(opened)}
    tables = {name: table for name, table in loaded.items() if table is not None}
    if not tables:
        raise NotFoundError(f"warehouse {uri}: nothing has been published in it yet; score documents first")
    return tables


@contextmanager
def _connect(spill: str) -> Iterator[duckdb.DuckDBPyConnection]:
    # DuckDB would fetch extensions over the network, and replacement scans would let SQL read our Python variables.
    settings: dict[str, str | bool | int | float | list[str]] = {
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "python_enable_replacements": "false",
        "temp_directory": spill,
        "TimeZone": "UTC",
    }
    connection = duckdb.connect(":memory:")
    try:
        for name, value in settings.items():
            connection.execute(f"SET {name}='{value}'")
        yield connection
    finally:
        connection.close()


def _run(connection: duckdb.DuckDBPyConnection, sql: str) -> pa.RecordBatchReader:
    statements = connection.extract_statements(sql)
    if len(statements) != 1 or statements[0].type not in _READ_ONLY:
        raise UsageError(
            "query: not one read-only statement, so nothing was run; write one SELECT, WITH, DESCRIBE or EXPLAIN"
        )
    return connection.sql(statements[0].query).to_arrow_reader(_BATCH_ROWS)


def _batches(reader: pa.RecordBatchReader, tables: Iterable[str]) -> Iterator[pa.RecordBatch]:
    with _explained(tables):
        yield from reader


@contextmanager
def _explained(tables: Iterable[str]) -> Iterator[None]:
    """Turn errors of DuckDB and Arrow into UsageError or StorageError."""
    try:
        yield
    except duckdb.CatalogException as error:
        raise UsageError(f"query: {error}; the tables here are {', '.join([*sorted(tables), HISTORY])}") from error
    except duckdb.Error as error:
        if "IOError" in str(error) or "reading the stream" in str(error):
            raise StorageError(f"query: a file of a table cannot be read: {error}") from error
        raise UsageError(f"query: {error}") from error
    except (OSError, pa.ArrowException) as error:
        raise StorageError(f"query: a file of a table cannot be read: {error}") from error


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
        raise UsageError(f"no table has a snapshot {snapshot}; list the snapshots with: select * from {HISTORY}")
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


def _snapshot_at(table: Table, name: str, snapshot: int | None, moment: int | None) -> int | None:
    if moment is None:
        return None
    if snapshot is not None and table.snapshot_by_id(snapshot):
        return snapshot
    found = table.snapshot_as_of_timestamp(moment)
    if found is None:
        when = datetime.fromtimestamp(moment / 1000, UTC).isoformat(timespec="seconds")
        raise UsageError(f"table {name} had no snapshot at {when}; list the snapshots with: select * from {HISTORY}")
    return found.snapshot_id
