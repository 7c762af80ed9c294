"""Announce a table's current snapshot to other catalogs, after publishing.

Glue is updated through its API. For Snowflake and BigQuery this module generates an SQL statement and runs it with a
command that the user configures (``snow sql --stdin``, ``bq query --use_legacy_sql=false``), so tlnlp needs no driver
for them. An announcement always names the snapshot that is current when it runs, so repeating it is harmless.
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
from tlnlp.storage.causes import reason_of
from tlnlp.storage.s3 import aws_client
from tlnlp.warehouse import glue
from tlnlp.warehouse.catalog import open_catalog
from tlnlp.warehouse.ddl import bigquery_table, snowflake_refresh
from tlnlp.warehouse.published import Published, published
from tlnlp.warehouse.schema import quarantine_name
from tlnlp.warehouse.sql_dialects import Dialect, check_store, parse_into

PLACEHOLDER = "{statement}"


class GlueTarget(Protocol):
    """Settings of the Glue Data Catalog."""

    @property
    def database(self) -> str | None:
        """Glue database that holds the entries; None disables the target."""

    @property
    def region(self) -> str | None:
        """AWS region; None takes the region of the environment."""


class CommandTarget(Protocol):
    """Settings of a target that is updated by a command."""

    @property
    def command(self) -> Sequence[str]:
        """Program and arguments that run one SQL statement; empty disables the target."""

    @property
    def into(self) -> str | None:
        """Schema or dataset of the tables at the target; None takes the default of the dialect."""


class SnowflakeTarget(CommandTarget, Protocol):
    """Settings of Snowflake."""

    @property
    def volume_uri(self) -> str | None:
        """STORAGE_BASE_URL of the external volume; None takes the bucket of the warehouse."""


class BigQueryTarget(CommandTarget, Protocol):
    """Settings of BigQuery."""

    @property
    def connection(self) -> str | None:
        """BigQuery connection that reads the store; without it, readers need rights on the bucket themselves."""


class Targets(Protocol):
    """The catalogs to notify: Glue if a database is set, Snowflake and BigQuery if a command is set."""

    @property
    def glue(self) -> GlueTarget:
        """Settings of Glue."""

    @property
    def snowflake(self) -> SnowflakeTarget:
        """Settings of Snowflake."""

    @property
    def bigquery(self) -> BigQueryTarget:
        """Settings of BigQuery."""

    @property
    def timeout_s(self) -> float:
        """Longest run time of one command, in seconds."""


@dataclass(frozen=True)
class Announced:
    """The outcome of announcing one table to one target.

    Attributes:
        target: ``glue``, ``snowflake`` or ``bigquery``.
        table: name of the table.
        outcome: ``created``, ``updated`` or ``unchanged`` (Glue), ``notified`` (a command ran), or ``failed``.
        error: why it failed; None otherwise.
    """

    target: str
    table: str
    outcome: str
    error: TlnlpError | None = None

    def to_json(self) -> dict[str, str]:
        """Return the fields as JSON types; ``error`` only when there is one."""
        fields = {"target": self.target, "table": self.table, "outcome": self.outcome}
        return fields | ({"error": str(self.error)} if self.error else {})


def names_of(targets: Targets) -> list[str]:
    """Return the names of the targets that are enabled."""
    enabled = {
        "glue": bool(targets.glue.database),
        "snowflake": bool(targets.snowflake.command),
        "bigquery": bool(targets.bigquery.command),
    }
    return [name for name, wanted in enabled.items() if wanted]


def check_targets(warehouse: str, targets: Targets) -> None:
    """Check the enabled targets before the first night, since a wrong setting would fail every night.

    Raises:
        UsageError: a target cannot read this warehouse's store, or ``database`` or ``into`` is not a valid name.
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
    """Announce the table and its quarantine table to every enabled target, and return one outcome for each pair.

    A target that fails does not stop the others. No error is raised: a failure is an outcome.
    """
    return [
        _outcome(name, one, notify)
        for one in (table, quarantine_name(table))
        for name, notify in _notifiers(catalog, one, targets)
    ]


def announce_now(warehouse: str, catalog: str | None, table: str, targets: Targets) -> list[Announced]:
    """Check the settings, open the catalog and ``announce``; ``tlnlp warehouse announce`` calls this.

    Raises:
        UsageError: no target is enabled, or a target does not fit the warehouse.
        NotFoundError: nothing was published under that table name.
        StorageError: the store failed.
    """
    if not names_of(targets):
        raise UsageError(
            "no catalog to notify: no announce target is set; set announce.glue.database, announce.snowflake.command "
            "or announce.bigquery.command"
        )
    check_targets(warehouse, targets)
    opened = open_catalog(warehouse, catalog)
    published(opened, table)
    return announce(opened, table, targets)


def raise_failures(done: Sequence[Announced]) -> None:
    """Raise an error of the first failure's class, with the messages of all failures; return if none failed."""
    failures = [one for one in done if one.error]
    if failures:
        assert failures[0].error is not None
        raise type(failures[0].error)("\n".join(f"{one.target}, table {one.table}: {one.error}" for one in failures))


def _notifiers(catalog: Catalog, table: str, targets: Targets) -> Iterator[tuple[str, Callable[[], str]]]:
    """Yield each enabled target with the function that notifies it and returns the outcome."""

    def current() -> Published:
        return published(catalog, table)

    enabled = names_of(targets)
    if "glue" in enabled:
        yield "glue", lambda: _notify_glue(targets.glue, current)
    if "snowflake" in enabled:
        snowflake = targets.snowflake

        def refresh() -> str:
            return snowflake_refresh(current(), snowflake.into, snowflake.volume_uri)

        yield "snowflake", lambda: run_command(snowflake.command, refresh(), targets.timeout_s)
    if "bigquery" in enabled:
        bigquery = targets.bigquery

        def replace() -> str:
            return bigquery_table(current(), bigquery.into, bigquery.connection)

        yield "bigquery", lambda: run_command(bigquery.command, replace(), targets.timeout_s)


def _outcome(target: str, table: str, notify: Callable[[], str]) -> Announced:
    try:
        return Announced(target, table, notify())
    except TlnlpError as error:
        return Announced(target, table, "failed", error)
    except Exception as error:  # The day is already published, so no error of an announcement may end the run.
        return Announced(target, table, "failed", StorageError(f"unexpected {type(error).__name__}"))


def _notify_glue(target: GlueTarget, current: Callable[[], Published]) -> str:
    assert target.database
    check_store(current().metadata_location, "athena")
    client: Any = aws_client("glue", target.region)
    return glue.register(client, target.database, current)


def run_command(command: Sequence[str], statement: str, timeout_s: float) -> str:
    """Run ``command`` on one SQL statement and return the outcome ``"notified"``.

    The statement replaces ``{statement}`` in the arguments; without that placeholder the program reads it from stdin.
    No shell is involved. The program's stdout goes to our stderr, because our stdout holds our own result.

    Raises:
        UsageError: the program cannot be started.
        StorageError: the program failed, or was still running after ``timeout_s`` seconds.
    """
    arguments = [part.replace(PLACEHOLDER, statement) for part in command]
    stdin = None if any(PLACEHOLDER in part for part in command) else f"{statement};\n".encode()
    try:
        process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=2, start_new_session=True)
    except OSError as error:
        raise UsageError(
            f"{command[0]}: cannot be started ({reason_of(error)}); install it, or correct `command`"
        ) from error
    with process:
        try:
            process.communicate(stdin, timeout=timeout_s)
        except subprocess.TimeoutExpired as error:
            raise StorageError(
                f"{command[0]} was still running after {timeout_s:g} s and was killed; raise announce.timeout_s, or "
                "find out what it waits for"
            ) from error
        finally:
            # The command has its own session, so this also kills the processes that it started.
            with suppress(ProcessLookupError):
                if process.returncode is None:
                    os.killpg(process.pid, signal.SIGKILL)
    if process.returncode:
        raise StorageError(f"{command[0]} ended with code {process.returncode}; its own messages stand above")
    return "notified"
