"""Generate the SQL statements that make a published table readable in another warehouse.

Each dialect has two sets of statements: one to run once, and one to run after each later night (``refresh``). Names of
tables and columns come from the published table. Dialects that register a table by SQL get its current metadata file.

Sources, read in November 2026:
https://trino.io/docs/current/connector/iceberg.html#register-table
https://docs.snowflake.com/en/sql-reference/sql/create-iceberg-table-iceberg-files
https://docs.snowflake.com/en/sql-reference/sql/alter-iceberg-table-refresh
https://cloud.google.com/bigquery/docs/iceberg-external-tables
https://docs.aws.amazon.com/redshift/latest/dg/r_CREATE_EXTERNAL_SCHEMA.html
https://docs.aws.amazon.com/athena/latest/ug/create-database.html
https://duckdb.org/docs/stable/core_extensions/iceberg/overview
https://iceberg.apache.org/docs/latest/spark-procedures/#register_table
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tlnlp.errors import UsageError
from tlnlp.warehouse.published import Published
from tlnlp.warehouse.schema import SCORE_DATE
from tlnlp.warehouse.sql_dialects import Dialect, Place, check_store, is_name, parse_into


@dataclass(frozen=True)
class Statement:
    """One SQL statement.

    Attributes:
        dialect: the engine that runs it.
        purpose: ``prepare``, ``table``, ``grant`` or ``check``.
        sql: the statement, without a semicolon.
    """

    dialect: Dialect
    purpose: str
    sql: str

    def to_json(self) -> dict[str, str]:
        """Return the fields as JSON types."""
        return {"dialect": self.dialect, "purpose": self.purpose, "sql": self.sql}


def statements(
    tables: Sequence[Published], dialect: Dialect, place: Place, *, refresh: bool = False
) -> list[Statement]:
    """Return the statements in the order in which to run them; the list may be empty.

    Args:
        tables: the published tables.
        dialect: the engine that will run the statements.
        place: where the tables appear there, and who may read them.
        refresh: False for the statements to run once, True for those to run after each later night.

    Raises:
        UsageError: the dialect cannot read the tables' store, or a name in ``place`` is not valid in the dialect.
    """
    for table in tables:
        check_store(table.metadata_location, dialect)
    into = parse_into(dialect, place.into)
    found = _MAKERS[dialect](tables, into, place, refresh)
    return [Statement(dialect, purpose, sql) for purpose, sql in found]


def script(made: Sequence[Statement]) -> str:
    """Return the statements as one SQL script, each below a comment that gives its purpose."""
    return "".join(f"-- {one.purpose}\n{one.sql};\n" for one in made)


_Pairs = list[tuple[str, str]]  # (purpose, SQL)


def _double(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _ticks(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _escaped(value: str) -> str:
    """Return a string literal for Spark, BigQuery and Snowflake, where a backslash begins an escape."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _plain(name: str, what: str) -> str:
    """Return ``name`` if it is valid without quotes. Raises UsageError, which calls it ``what``."""
    if not is_name(name):
        raise UsageError(f"{what}={name!r}: use letters, digits and _ only")
    return name


def _check(full: str, table: Published, quote: Callable[[str], str]) -> tuple[str, str]:
    """Return a query of every column for ten rows of the newest day."""
    columns = ", ".join(quote(column.name) for column in table.columns)
    return "check", _newest(full, columns)


def _newest(full: str, columns: str) -> str:
    return f"SELECT {columns} FROM {full} WHERE {SCORE_DATE} = (SELECT max({SCORE_DATE}) FROM {full}) LIMIT 10"


def _athena(tables: Sequence[Published], into: tuple[str, ...], place: Place, refresh: bool) -> _Pairs:
    if refresh:
        return []
    found = [("prepare", f"CREATE DATABASE IF NOT EXISTS {_ticks(into[0])}")]
    return found + [_check(f"{_double(into[0])}.{_double(table.name)}", table, _double) for table in tables]


def _redshift(tables: Sequence[Published], into: tuple[str, ...], place: Place, refresh: bool) -> _Pairs:
    if refresh:
        return []
    role = "default" if place.iam_role == "default" else _text(place.iam_role)
    schema = _double(into[0])
    source = f"FROM DATA CATALOG DATABASE {_text(into[0])} IAM_ROLE {role}"
    found = [("prepare", f"CREATE EXTERNAL SCHEMA IF NOT EXISTS {schema} {source}")]
    if place.reader:  # Redshift takes the rights on an external table from its schema.
        found += [("grant", f"GRANT USAGE ON SCHEMA {schema} TO ROLE {_double(place.reader)}")]
    return found + [_check(f"{schema}.{_double(table.name)}", table, _double) for table in tables]


def _trino(tables: Sequence[Published], into: tuple[str, ...], place: Place, refresh: bool) -> _Pairs:
    catalog, schema = into
    procedure = f"CALL {_double(catalog)}.system."
    found = [] if refresh else [("prepare", f"CREATE SCHEMA IF NOT EXISTS {_double(catalog)}.{_double(schema)}")]
    for table in tables:
        folder, _, file = table.metadata_location.rpartition("/")
        if folder != f"{table.location}/metadata":
            raise UsageError(
                f"{table.metadata_location}: Trino registers metadata in {table.location}/metadata only; connect Trino "
                "to the catalog of this table instead"
            )
        named = f"schema_name => {_text(schema)}, table_name => {_text(table.name)}"
        place_of = f"table_location => {_text(table.location)}, metadata_file_name => {_text(file)}"
        if refresh:
            found += [("table", f"{procedure}unregister_table({named})")]
        found += [("table", f"{procedure}register_table({named}, {place_of})")]
        full = ".".join(map(_double, (*into, table.name)))
        if place.reader:
            found += [("grant", f"GRANT SELECT ON {full} TO ROLE {_double(place.reader)}")]
        if not refresh:
            found += [_check(full, table, _double)]
    return found


def _snowflake(tables: Sequence[Published], into: tuple[str, ...], place: Place, refresh: bool) -> _Pairs:
    # Snowflake compares names without quotes regardless of case, so users can type them either way.
    if refresh:
        return [("table", snowflake_refresh(table, ".".join(into), place.volume_uri)) for table in tables]
    database, schema = into
    integration = _plain(place.integration, "integration")
    created = "CATALOG_SOURCE = OBJECT_STORE TABLE_FORMAT = ICEBERG ENABLED = TRUE"
    found = [
        ("prepare", f"CREATE CATALOG INTEGRATION IF NOT EXISTS {integration} {created}"),
        ("prepare", f"CREATE SCHEMA IF NOT EXISTS {database}.{schema}"),
    ]
    reader = _plain(place.reader, "reader") if place.reader else None
    if reader:
        found += [("grant", f"GRANT USAGE ON DATABASE {database} TO ROLE {reader}")]
        found += [("grant", f"GRANT USAGE ON SCHEMA {database}.{schema} TO ROLE {reader}")]
    for table in tables:
        full = f"{database}.{schema}.{table.name}"
        path = _escaped(_below(table.metadata_location, place.volume_uri))
        options = f"EXTERNAL_VOLUME = {_escaped(place.volume)} CATALOG = {_escaped(integration)}"
        found += [("table", f"CREATE ICEBERG TABLE IF NOT EXISTS {full} {options} METADATA_FILE_PATH = {path}")]
        if reader:
            found += [("grant", f"GRANT SELECT ON ICEBERG TABLE {full} TO ROLE {reader}")]
        found += [("check", _newest(full, "*"))]
    return found


def snowflake_refresh(table: Published, into: str | None, volume_uri: str | None) -> str:
    """Return the statement that points Snowflake's table at the current snapshot. Raises UsageError."""
    full = ".".join((*parse_into("snowflake", into), table.name))
    return f"ALTER ICEBERG TABLE {full} REFRESH {_escaped(_below(table.metadata_location, volume_uri))}"


def _below(uri: str, folder: str | None) -> str:
    """Return the path of ``uri`` relative to ``folder`` (None: its bucket)."""
    base = folder.rstrip("/") if folder else "/".join(uri.split("/")[:3])
    if not uri.startswith(f"{base}/"):
        raise UsageError(
            f"volume_uri={folder!r}: {uri} is not below it; give the STORAGE_BASE_URL of the external volume, with the "
            "same scheme as the warehouse (s3:// or gs://)"
        )
    return uri.removeprefix(f"{base}/")


def _bigquery(tables: Sequence[Published], into: tuple[str, ...], place: Place, refresh: bool) -> _Pairs:
    created = [(table, bigquery_table(table, ".".join(into), place.connection)) for table in tables]
    if refresh:
        return [("table", sql) for _, sql in created]
    dataset = ".".join(map(_ticks, into))
    found = [("prepare", f"CREATE SCHEMA IF NOT EXISTS {dataset}")]
    if place.reader:
        if ":" not in place.reader:
            raise UsageError(f"reader={place.reader!r}: BigQuery needs a principal such as group:analysts@example.com")
        # A grant on the dataset survives the replacement of a table.
        grant = f"GRANT `roles/bigquery.dataViewer` ON SCHEMA {dataset} TO {_escaped(place.reader)}"
        found += [("grant", grant)]
    for table, sql in created:
        found += [("table", sql), _check(f"{dataset}.{_ticks(table.name)}", table, _ticks)]
    return found


def bigquery_table(table: Published, into: str | None, connection: str | None) -> str:
    """Return the statement that creates the external table at the current snapshot. Raises UsageError."""
    full = ".".join(map(_ticks, (*parse_into("bigquery", into), table.name)))
    by = f" WITH CONNECTION {_ticks(connection)}" if connection else ""
    options = f"format = 'ICEBERG', uris = [{_escaped(table.metadata_location)}]"
    return f"CREATE OR REPLACE EXTERNAL TABLE {full}{by} OPTIONS ({options})"


def _duckdb(tables: Sequence[Published], into: tuple[str, ...], place: Place, refresh: bool) -> _Pairs:
    found = [("prepare", "LOAD iceberg")] + [("table", _duckdb_variable(table)) for table in tables]
    if refresh:
        return found
    found += [("prepare", f"CREATE SCHEMA IF NOT EXISTS {_double(into[0])}")]
    for table in tables:
        full = f"{_double(into[0])}.{_double(table.name)}"
        columns = ", ".join(_double(column.name) for column in table.columns)
        scan = f"iceberg_scan(getvariable('{table.name}_metadata'))"
        found += [("table", f"CREATE OR REPLACE VIEW {full} AS SELECT {columns} FROM {scan}")]
        found += [_check(full, table, _double)]
    return found


def _duckdb_variable(table: Published) -> str:
    """Return the statement that sets the variable with the metadata file, which the view reads in each session."""
    if table.pointer is None:
        return f"SET VARIABLE {table.name}_metadata = {_text(table.metadata_location)}"
    return (
        f"SET VARIABLE {table.name}_metadata = (SELECT metadata_location FROM read_json({_text(table.pointer)}, "
        "columns = {'metadata_location': 'VARCHAR'}))"
    )


def _spark(tables: Sequence[Published], into: tuple[str, ...], place: Place, refresh: bool) -> _Pairs:
    catalog, namespace = into
    found = [] if refresh else [("prepare", f"CREATE NAMESPACE IF NOT EXISTS {_ticks(catalog)}.{_ticks(namespace)}")]
    for table in tables:
        full = ".".join(map(_ticks, (*into, table.name)))
        if refresh:  # Without PURGE, Spark removes the table from the catalog and keeps its files.
            found += [("table", f"DROP TABLE IF EXISTS {full}")]
        name = _escaped(f"{_ticks(namespace)}.{_ticks(table.name)}")
        file = f"metadata_file => {_escaped(table.metadata_location)}"
        found += [("table", f"CALL {_ticks(catalog)}.system.register_table(table => {name}, {file})")]
        if not refresh:
            found += [_check(full, table, _ticks)]
    return found


_MAKERS: dict[Dialect, Callable[[Sequence[Published], tuple[str, ...], Place, bool], _Pairs]] = {
    "athena": _athena,
    "redshift": _redshift,
    "trino": _trino,
    "snowflake": _snowflake,
    "bigquery": _bigquery,
    "duckdb": _duckdb,
    "spark": _spark,
}
