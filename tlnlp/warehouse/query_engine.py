"""Open DuckDB for one read-only statement, run it, and explain its errors."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import duckdb
import pyarrow as pa

from tlnlp.errors import StorageError, UsageError
from tlnlp.storage.causes import described, is_full
from tlnlp.warehouse.query_worker import Hold, Limits, over_memory

Connection = duckdb.DuckDBPyConnection

_BATCH_ROWS = 10_000
_UNITS = {"bytes": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_EXPLAIN = re.compile(r"\s*explain\s+(?:analyze\s+)?(?:\([^()]*\)\s*)?", re.IGNORECASE)
_NOT_READ_ONLY = "query: not one read-only statement, so nothing was run; write one SELECT, WITH, DESCRIBE or EXPLAIN"


@contextmanager
def connected(spill: str, limits: Limits, hold: Hold, database: str = ":memory:") -> Iterator[Connection]:
    """Yield a connection to a new database, which spills into the folder ``spill``.

    ``hold`` is called with the connection, and with None before it is closed. ``database`` is the path of its file;
    without it, the database lies in memory.
    """
    # DuckDB would fetch extensions over the network, replacement scans would let SQL read our Python variables, and
    # after two seconds a progress bar would be printed into the result on stdout.
    settings: dict[str, str | bool | int | float | list[str]] = {
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "python_enable_replacements": "false",
        "enable_progress_bar": "false",
        "temp_directory": spill,
        "TimeZone": "UTC",
    }
    connection = duckdb.connect(database)
    try:
        settings["memory_limit"] = f"{min(limits.memory_bytes, _own_limit(connection))}B"
        for name, value in settings.items():
            connection.execute(f"SET {name}='{value}'")
        hold(connection)
        yield connection
    finally:
        hold(None)
        connection.close()


def run_statement(connection: Connection, sql: str, parameters: Sequence[object] = ()) -> pa.RecordBatchReader:
    """Run one statement that reads the registered tables and nothing else, and return its rows as a stream.

    Args:
        connection: the connection.
        sql: the statement.
        parameters: a value for each ``?`` of the statement.

    Raises:
        UsageError: it is not one statement, or it could write.
        duckdb.Error: DuckDB refused it, or failed.
    """
    connection.execute("SET enable_external_access=false")
    connection.execute("SET lock_configuration=true")
    statement = _read_only(connection, sql)
    # A CTE may hold a statement that writes. The tables are views, but it could make and change others.
    connection.execute("BEGIN TRANSACTION READ ONLY")
    return connection.sql(statement, params=list(parameters) or None).to_arrow_reader(_BATCH_ROWS)


def identifier(name: str) -> str:
    """Return the name of a table or column as SQL writes it: in quotes, so that it means nothing else."""
    return '"' + name.replace('"', '""') + '"'


def _read_only(connection: Connection, sql: str) -> str:
    statements = connection.extract_statements(sql)
    if len(statements) != 1:
        raise UsageError(_NOT_READ_ONLY)
    statement = statements[0]
    if statement.type == duckdb.StatementType.EXPLAIN:
        # EXPLAIN ANALYZE runs what it explains.
        inner = connection.extract_statements(_EXPLAIN.sub("", _without_comments(statement.query), count=1))
        if [one.type for one in inner] == [duckdb.StatementType.SELECT]:
            return statement.query
    elif statement.type == duckdb.StatementType.SELECT:
        return statement.query
    raise UsageError(_NOT_READ_ONLY)


def _without_comments(sql: str) -> str:
    return re.sub(r"^(?:\s+|--[^\n]*(?:\n|$)|/\*.*?\*/)+", "", sql, flags=re.DOTALL)


def _own_limit(connection: Connection) -> int:
    """Return DuckDB's own limit in bytes: a share of the memory that this machine or container has."""
    found = connection.execute("SELECT current_setting('memory_limit')").fetchone()
    number, unit = str(found[0]).split() if found else ("0", "bytes")
    return int(float(number) * _UNITS[unit])


@contextmanager
def explained(tables: Sequence[str], limits: Limits) -> Iterator[None]:
    """Turn errors of DuckDB and Arrow into UsageError or StorageError."""
    try:
        yield
    except duckdb.CatalogException as error:
        # The library's own guess is among its internal tables.
        message = re.sub(r"\s*Did you mean .*", "", str(error))
        raise UsageError(f"query: {message}; the tables here are {', '.join(tables)}") from error
    except (duckdb.Error, OSError, pa.ArrowException) as error:
        message = str(error)
        if isinstance(error, duckdb.OutOfMemoryException) or "Out of Memory Error" in message:
            raise over_memory(limits) from error
        if not isinstance(error, duckdb.Error) or "IOError" in message or "reading the stream" in message:
            raise StorageError(f"query: {_file(message)} cannot be read {described(error)}") from error
        if is_full(error):
            raise StorageError(f"query: the temporary folder cannot be written {described(error)}") from error
        if isinstance(error, duckdb.ConversionException):  # It quotes the value, which a row may hold.
            # The line of the statement comes last, and the value may hold what looks like one.
            what, line, statement = message.rpartition("\n\nLINE ")
            message = re.sub(r"'.*'", "'...'", what if line else message, count=1, flags=re.DOTALL)
            message += line + statement if line else ""
        raise UsageError(f"query: {message}") from error


def _file(message: str) -> str:
    found = re.search(r"'([^']+\.parquet)'", message)
    return found[1] if found else "a file of a table"
