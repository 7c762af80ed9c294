"""The dialects that a table can be read in: which stores each reaches, and where tables appear there."""

from __future__ import annotations

import re
from typing import Literal, Protocol, get_args

from tlnlp.errors import UsageError

Dialect = Literal["athena", "trino", "snowflake", "bigquery", "redshift", "duckdb", "spark"]
DIALECTS: tuple[Dialect, ...] = get_args(Dialect)

# What each reads, among the stores that a warehouse can be in.
_STORES: dict[Dialect, tuple[str, ...]] = {
    "athena": ("s3",),
    "redshift": ("s3",),
    "trino": ("s3", "gs"),
    "snowflake": ("s3", "gs"),
    "bigquery": ("gs",),
    "duckdb": ("file", "s3", "gs", "az"),
    "spark": ("file", "s3", "gs"),
}
# Where the tables go when `into` is not said; also shows how many names there are.
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
# What the statements cannot do, told beside them.
NOTES: dict[Dialect, str] = {
    "athena": "Athena registers no table by SQL: after the first statement run `tlnlp warehouse announce` with "
    "announce.glue.database; rights are Lake Formation's or IAM's",
    "redshift": "Redshift registers no table by SQL: run `tlnlp warehouse announce` with announce.glue.database before",
    "trino": "the catalog needs iceberg.register-table-procedure.enabled=true; --refresh gives what each later night "
    "needs",
    "snowflake": "the external volume must be there, its STORAGE_BASE_URL the bucket or what volume_uri says; each "
    "later night is told by announce.snowflake or --refresh",
    "bigquery": "each later night is told by announce.bigquery or --refresh",
    "duckdb": "INSTALL iceberg once (for s3:// httpfs too); every session needs what --refresh gives",
    "spark": "--refresh gives what each later night needs, but for catalogs that are told otherwise",
}
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PROJECT = re.compile(r"[a-z][a-z0-9-]*")


class Place(Protocol):
    """Where the tables are to appear and who is to read them; what a dialect has no use for is ignored."""

    @property
    def into(self) -> str | None: ...
    @property
    def reader(self) -> str | None: ...
    @property
    def volume(self) -> str: ...
    @property
    def volume_uri(self) -> str | None: ...
    @property
    def integration(self) -> str: ...
    @property
    def iam_role(self) -> str: ...
    @property
    def connection(self) -> str | None: ...


def check_store(uri: str, dialect: Dialect) -> None:
    """Raises UsageError: what lies at ``uri`` is out of the dialect's reach."""
    scheme = "s3" if uri.startswith("s3a://") else uri.partition("://")[0]
    if scheme not in _STORES[dialect]:
        reads = " or ".join(f"{store}://" for store in _STORES[dialect])
        where = "on a local disk" if scheme == "file" else f"on {scheme}://"
        raise UsageError(
            f"{uri}: this table is {where}, and {dialect} reads {reads}; score into a warehouse there, or choose "
            "another dialect"
        )


def parse_into(dialect: Dialect, into: str | None) -> tuple[str, ...]:
    """The names before the table's. Raises UsageError."""
    given = into or _INTO[dialect]
    parts = tuple(given.split("."))
    names = parts
    if dialect == "bigquery" and len(parts) == 2 and _PROJECT.fullmatch(parts[0]):
        names = parts[1:]
    if len(names) == _INTO[dialect].count(".") + 1 and all(map(is_name, names)):
        return parts
    raise UsageError(f"into={given!r}: for {dialect} write {_SHAPES[dialect]}, of letters, digits and _")


def is_name(text: str) -> bool:
    """Whether every dialect takes it as a name without quotes."""
    return _NAME.fullmatch(text) is not None
