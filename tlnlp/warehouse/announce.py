"""Tell other catalogs of a table's new snapshot: the step after publishing, for readers that cannot see it themselves.

Glue is told by its API. Snowflake and BigQuery are told by a statement that is made here and run by a command of the
user's choice (``snow sql --stdin``, ``bq query --use_legacy_sql=false``), so that no driver of theirs is needed.
Announcing twice does what announcing once does, and what is named is the snapshot that is current at that moment.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from pyiceberg.catalog import Catalog

from tlnlp.errors import StorageError, TlnlpError, UsageError
from tlnlp.storage.s3 import aws_client
from tlnlp.warehouse import glue
from tlnlp.warehouse.catalog import open_catalog
from tlnlp.warehouse.ddl import bigquery_table, snowflake_refresh
from tlnlp.warehouse.places import Dialect, check_store, parse_into
from tlnlp.warehouse.published import Published, published
from tlnlp.warehouse.schema import quarantine_name

PLACEHOLDER = "{statement}"


class GlueTarget(Protocol):
    @property
    def database(self) -> str | None: ...
    @property
    def region(self) -> str | None: ...


class CommandTarget(Protocol):
    @property
    def command(self) -> Sequence[str]: ...
    @property
    def into(self) -> str | None: ...


class SnowflakeTarget(CommandTarget, Protocol):
    @property
    def volume_uri(self) -> str | None: ...


class BigQueryTarget(CommandTarget, Protocol):
    @property
    def connection(self) -> str | None: ...


class Targets(Protocol):
    """Who is to be told: Glue if a database is named, the others if a command is."""

    @property
    def glue(self) -> GlueTarget: ...
    @property
    def snowflake(self) -> SnowflakeTarget: ...
    @property
    def bigquery(self) -> BigQueryTarget: ...
    @property
    def timeout_s(self) -> float: ...


@dataclass(frozen=True)
class Announced:
    """``outcome``: created, updated, unchanged, told, or failed with ``error``."""

    target: str
    table: str
    outcome: str
    error: TlnlpError | None = None

    def to_json(self) -> dict[str, str]:
        told = {"target": self.target, "table": self.table, "outcome": self.outcome}
        return told | ({"error": str(self.error)} if self.error else {})


def names_of(targets: Targets) -> list[str]:
    """Those that are to be told."""
    asked = {
        "glue": bool(targets.glue.database),
        "snowflake": bool(targets.snowflake.command),
        "bigquery": bool(targets.bigquery.command),
    }
    return [name for name, wanted in asked.items() if wanted]


def check_targets(warehouse: str, targets: Targets) -> None:
    """What would fail every night, told before the first.

    Raises:
        UsageError: a target cannot read this warehouse, or its settings do not fit it.
    """
    readers: dict[str, Dialect] = {"glue": "athena", "snowflake": "snowflake", "bigquery": "bigquery"}
    for name in names_of(targets):
        check_store(warehouse, readers[name])
    if targets.glue.database:
        parse_into("athena", targets.glue.database)
    if targets.snowflake.command:
        parse_into("snowflake", targets.snowflake.into)
    if targets.bigquery.command:
        parse_into("bigquery", targets.bigquery.into)


def announce(catalog: Catalog, table: str, targets: Targets) -> list[Announced]:
    """Tell every target of the table and its quarantine. One that fails keeps no other from being told; none raises."""
    return [
        _told(name, one, tell)
        for one in (table, quarantine_name(table))
        for name, tell in _tellers(catalog, one, targets)
    ]


def announce_now(warehouse: str, catalog: str | None, table: str, targets: Targets) -> list[Announced]:
    """``announce`` as a command of its own.

    Raises:
        UsageError: nobody is to be told, or a target does not fit the warehouse.
        NotFoundError: nothing was published under that name.
        StorageError: the store failed.
    """
    if not names_of(targets):
        raise UsageError("nobody is to be told; set announce.glue.database, announce.snowflake.command or the like")
    check_targets(warehouse, targets)
    opened = open_catalog(warehouse, catalog)
    published(opened, table)
    return announce(opened, table, targets)


def raise_failures(done: Sequence[Announced]) -> None:
    """Raises the error of the first that failed, with the messages of all."""
    failures = [one for one in done if one.error]
    if failures:
        assert failures[0].error is not None
        raise type(failures[0].error)("\n".join(f"{one.target}, table {one.table}: {one.error}" for one in failures))


def _tellers(catalog: Catalog, table: str, targets: Targets) -> Iterator[tuple[str, Callable[[], str]]]:
    def current() -> Published:
        return published(catalog, table)

    asked = names_of(targets)
    if "glue" in asked:
        yield "glue", lambda: _tell_glue(targets.glue, current)
    if "snowflake" in asked:
        flake = targets.snowflake

        def refresh() -> str:
            return snowflake_refresh(current(), flake.into, flake.volume_uri)

        yield "snowflake", lambda: run_command(flake.command, refresh(), targets.timeout_s)
    if "bigquery" in asked:
        query = targets.bigquery

        def replace() -> str:
            return bigquery_table(current(), query.into, query.connection)

        yield "bigquery", lambda: run_command(query.command, replace(), targets.timeout_s)


def _told(target: str, table: str, tell: Callable[[], str]) -> Announced:
    try:
        return Announced(target, table, tell())
    except TlnlpError as error:
        return Announced(target, table, "failed", error)
    except Exception as error:  # the day is published: nothing that happens here may end the run
        return Announced(target, table, "failed", StorageError(f"unexpected {type(error).__name__}"))


def _tell_glue(target: GlueTarget, current: Callable[[], Published]) -> str:
    assert target.database
    check_store(current().metadata_location, "athena")
    client: Any = aws_client("glue", target.region)
    return glue.register(client, target.database, current)


def run_command(command: Sequence[str], statement: str, timeout_s: float) -> str:
    """Run a program with the statement in place of ``{statement}`` in its arguments, else on its stdin; "told".

    No shell is between. What it says goes to stderr, since stdout holds our result.

    Raises:
        UsageError: there is no such program.
        StorageError: it failed, or was still at work after ``timeout_s``.
    """
    arguments = [part.replace(PLACEHOLDER, statement) for part in command]
    given = None if any(PLACEHOLDER in part for part in command) else f"{statement};\n".encode()
    try:
        process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=2, start_new_session=True)
    except OSError as error:
        raise UsageError(
            f"{command[0]}: cannot be started ({type(error).__name__}); install it, or mend `command`"
        ) from error
    with process:
        try:
            process.communicate(given, timeout=timeout_s)
        except subprocess.TimeoutExpired as error:
            raise StorageError(
                f"{command[0]} was still at work after {timeout_s:g} s and was ended; raise announce.timeout_s, or "
                "look why it waits"
            ) from error
        finally:
            # With what it started itself: a session of its own.
            with suppress(ProcessLookupError):
                if process.returncode is None:
                    os.killpg(process.pid, signal.SIGKILL)
    if process.returncode:
        raise StorageError(f"{command[0]} ended with code {process.returncode}; what it said stands above")
    return "told"
