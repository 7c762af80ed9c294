"""Define the SQL dialects that can read a table: the stores each reads, and how each names a place for tables."""

from __future__ import annotations

import re
from typing import Literal, Protocol, get_args

from tlnlp.errors import UsageError

Dialect = Literal["athena", "trino", "snowflake", "bigquery", "redshift", "duckdb", "spark"]
DIALECTS: tuple[Dialect, ...] = get_args(Dialect)

# URI schemes that each dialect reads.
_STORES: dict[Dialect, tuple[str, ...]] = {
    "athena": ("s3",),
    "redshift": ("s3",),
    "trino": ("s3", "gs"),
    "snowflake": ("s3", "gs"),
    "bigquery": ("gs",),
    "duckdb": ("file", "s3", "gs", "az"),
    "spark": ("file", "s3", "gs"),
}
# Default of `into`; it also fixes the number of names in a valid `into`.
_INTO: dict[Dialect, str] = {
    "athena": "tlnlp",
    "redshift": "tlnlp",
    "trino": "example.tlnlp",
    "snowflake": "tlnlp.public",
    "bigquery": "tlnlp",
    "duckdb": "main",
    "spark": "example.tlnlp",
}
_SHAPES: dict[Dialect, str] = {
    "athena": "the Glue database",
    "redshift": "the Glue database, which gives the external schema its name",
    "trino": "CATALOG.SCHEMA",
    "snowflake": "DATABASE.SCHEMA",
    "bigquery": "DATASET or PROJECT.DATASET",
    "duckdb": "the schema",
    "spark": "CATALOG.NAMESPACE",
}
# Steps that the statements cannot do; `tlnlp warehouse ddl` prints them on stderr.
NOTES: dict[Dialect, str] = {
    "athena": "Athena cannot register a table by SQL: after the first statement run `tlnlp warehouse announce` with "
    "announce.glue.database; grant rights in Lake Formation or IAM",
    "redshift": "Redshift cannot register a table by SQL: first run `tlnlp warehouse announce` with "
    "announce.glue.database",
    "trino": "the catalog needs iceberg.register-table-procedure.enabled=true; after each later night run the "
    "statements of --refresh",
    "snowflake": "the external volume must exist, with the bucket or volume_uri as its STORAGE_BASE_URL; after each "
    "later night set announce.snowflake, or run the statements of --refresh",
    "bigquery": "for each later night set announce.bigquery, or run the statements of --refresh",
    "duckdb": "run INSTALL iceberg once (for s3:// also INSTALL httpfs); in every session run the statements of "
    "--refresh",
    "spark": "after each later night run the statements of --refresh, unless the catalog is updated in another way",
}
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PROJECT = re.compile(r"[a-z][a-z0-9-]*")


class Place(Protocol):
    """Where the tables appear and who may read them; a dialect ignores the settings that it has no use for."""

    @property
    def into(self) -> str | None:
        """Names before the table's, such as ``CATALOG.SCHEMA``; None takes the dialect's default."""

    @property
    def reader(self) -> str | None:
        """Role or principal that is granted reading; None generates no grants."""

    @property
    def volume(self) -> str:
        """Snowflake: name of the external volume."""

    @property
    def volume_uri(self) -> str | None:
        """Snowflake: STORAGE_BASE_URL of the external volume; None takes the bucket of the warehouse."""

    @property
    def integration(self) -> str:
        """Snowflake: name of the catalog integration."""

    @property
    def iam_role(self) -> str:
        """Redshift: ARN of the role that reads the store, or ``default``."""

    @property
    def connection(self) -> str | None:
        """BigQuery: connection that reads the store; without it, readers need rights on the bucket themselves."""


def check_store(uri: str, dialect: Dialect) -> None:
    """Check that the dialect reads the store of ``uri``. Raises UsageError."""
    scheme = "s3" if uri.startswith("s3a://") else uri.partition("://")[0]
    if scheme not in _STORES[dialect]:
        reads = " or ".join(f"{store}://" for store in _STORES[dialect])
        where = "on a local disk" if scheme == "file" else f"on {scheme}://"
        raise UsageError(
            f"{uri}: this table is {where}, and {dialect} reads {reads}; score into a warehouse there, or choose "
            "another dialect"
        )


def parse_into(dialect: Dialect, into: str | None) -> tuple[str, ...]:
    """Return the names before the table's, split at the dots (None: the dialect's default). Raises UsageError."""
    given = into or _INTO[dialect]
    parts = tuple(given.split("."))
    names = parts
    if dialect == "bigquery" and len(parts) == 2 and _PROJECT.fullmatch(parts[0]):
        names = parts[1:]
    if len(names) == _INTO[dialect].count(".") + 1 and all(map(is_name, names)):
        return parts
    raise UsageError(f"into={given!r}: not valid for {dialect}; write {_SHAPES[dialect]}, of letters, digits and _")


def is_name(text: str) -> bool:
    """Return True if every dialect accepts ``text`` as a name without quotes."""
    return _NAME.fullmatch(text) is not None
