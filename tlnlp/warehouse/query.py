"""SQL over the tables of a warehouse: DuckDB, embedded, over the Parquet files that a snapshot lists.

A table that the SQL mentions is registered as a ``pyarrow.dataset`` of the snapshot's files, each with its day as
partition value: filters and columns are pushed down into the files, days that a filter excludes are not opened, and
memory does not grow with the table. The engine can reach nothing else: no file, no network, no setting.
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
_READING = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN)


@dataclass(frozen=True)
class QueryResult:
    """All rows of a query, their values ready for JSON (see ``json_value``), in the order of ``columns``."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]


@dataclass(frozen=True)
class QueryStream:
    """The rows of a query as they come: read ``batches`` once, inside ``open_query``."""

    columns: tuple[str, ...]
    batches: Iterator[pa.RecordBatch]


def run_query(
    warehouse: str, sql: str, *, catalog: str | None = None, snapshot: int | None = None, as_of: str | None = None
) -> QueryResult:
    """Run one reading query and keep its whole result; see ``open_query`` for arguments and errors."""
    with open_query(warehouse, sql, catalog=catalog, snapshot=snapshot, as_of=as_of) as stream:
        return QueryResult(stream.columns, [row for batch in stream.batches for row in json_rows(batch)])


@contextmanager
def open_query(
    warehouse: str, sql: str, *, catalog: str | None = None, snapshot: int | None = None, as_of: str | None = None
) -> Iterator[QueryStream]:
    """Run one reading query (SELECT, WITH, DESCRIBE, EXPLAIN...) over the tables and the view ``history``.

    Tables are read at their current snapshot; or at ``snapshot`` (other tables as they were at its time); or at
    ``as_of``: a day (its last moment, UTC) or an ISO time (UTC unless it says otherwise).

    Raises:
        NotFoundError: no such warehouse, or nothing was ever published in it.
        UsageError: the SQL is wrong, is not one reading query, or names an unknown table, snapshot or time.
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
    """The rows of a batch, their values ready for JSON."""
    columns = [batch.column(number) for number in range(batch.num_columns)]
    lists = [[json_value(value.as_py(maps_as_pydicts="lossy")) for value in column] for column in columns]
    yield from zip(*lists, strict=True)


def json_value(value: Any) -> Any:
    """A value as JSON can hold it: dates and times ISO 8601, a whole decimal an int, another a float, NaN null."""
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, date | time):  # a datetime is a date
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
    # Extensions would be fetched over the network, and replacements would let SQL name this program's variables.
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
    if len(statements) != 1 or statements[0].type not in _READING:
        raise UsageError("a query is one statement that reads (SELECT, WITH, DESCRIBE, EXPLAIN); nothing was run")
    return connection.sql(statements[0].query).to_arrow_reader(_BATCH_ROWS)


def _batches(reader: pa.RecordBatchReader, tables: Iterable[str]) -> Iterator[pa.RecordBatch]:
    with _explained(tables):
        yield from reader


@contextmanager
def _explained(tables: Iterable[str]) -> Iterator[None]:
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
    """Milliseconds since 1970, UTC; None for now."""
    if snapshot is not None and as_of is not None:
        raise UsageError("a query is of one snapshot or as of one time; give one of the two")
    if snapshot is not None:
        for table in tables.values():
            if found := table.snapshot_by_id(snapshot):
                return found.timestamp_ms
        raise UsageError(f"no table has a snapshot {snapshot}; they are listed by: select * from {HISTORY}")
    if as_of is None:
        return None
    try:
        if len(as_of) <= len("2026-01-31"):
            given = datetime.combine(date.fromisoformat(as_of) + timedelta(days=1), time(), UTC)
            return int(given.timestamp() * 1000) - 1
        given = datetime.fromisoformat(as_of)
    except ValueError as error:
        raise UsageError(f"{as_of!r} is no day (2026-01-31) and no ISO time (2026-01-31T04:00:00+00:00)") from error
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
        raise UsageError(f"table {name} had no snapshot at {when}; they are listed by: select * from {HISTORY}")
    return found.snapshot_id
