"""Statements for other warehouses, parsed in their dialects; tests/acceptance/ runs those of DuckDB and Spark."""

from __future__ import annotations

import dataclasses
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlglot
from sqlglot import exp
from warehouse_helpers import DAY, publish, score_row, write_rows

from tlnlp.config import DdlSettings
from tlnlp.errors import NotFoundError, UsageError
from tlnlp.warehouse.catalog import open_catalog
from tlnlp.warehouse.ddl import Statement, script, statements
from tlnlp.warehouse.publish import Publication, publish_day
from tlnlp.warehouse.published import Published, published, published_pair
from tlnlp.warehouse.schema import QUARANTINE, SCORES, Column
from tlnlp.warehouse.sql_dialects import DIALECTS, NOTES, Dialect

# Difficult names of kept columns: a reserved word, a space, quotes, letters of both cases.
KEPT = (Column("order", "string"), Column("a b", "timestamp"), Column('say "it`s"', "int"), Column("Stars", "long"))
SCHEMES: dict[Dialect, str] = {"bigquery": "gs", "duckdb": "s3"}
# Statements that sqlglot does not parse, compared with the documentation by hand in November 2026.
OPAQUE: dict[Dialect, dict[str, str]] = {
    "trino": {
        r'CALL "\w+"\.system\.register_table\(schema_name => \'\w+\', table_name => \'\w+\', '
        r"table_location => '[^']+', metadata_file_name => '[\w.-]+'\)": (
            "https://trino.io/docs/current/connector/iceberg.html#register-table"
        ),
        r'CALL "\w+"\.system\.unregister_table\(schema_name => \'\w+\', table_name => \'\w+\'\)': (
            "https://trino.io/docs/current/connector/iceberg.html#unregister-table"
        ),
    },
    "snowflake": {
        r"CREATE CATALOG INTEGRATION IF NOT EXISTS \w+ CATALOG_SOURCE = OBJECT_STORE TABLE_FORMAT = ICEBERG "
        r"ENABLED = TRUE": (
            "https://docs.snowflake.com/en/sql-reference/sql/create-catalog-integration-object-storage"
        ),
        r"ALTER ICEBERG TABLE \w+\.\w+\.\w+ REFRESH '[^/'][^']*'": (
            "https://docs.snowflake.com/en/sql-reference/sql/alter-iceberg-table-refresh"
        ),
        r"GRANT SELECT ON ICEBERG TABLE \w+\.\w+\.\w+ TO ROLE \w+": (
            "https://docs.snowflake.com/en/sql-reference/sql/grant-privilege"
        ),
    },
    "bigquery": {
        r"CREATE OR REPLACE EXTERNAL TABLE (`[\w-]+`\.){1,2}`\w+` WITH CONNECTION `[\w.-]+` "
        r"OPTIONS \(format = 'ICEBERG', uris = \['gs://[^']+'\]\)": (
            "https://cloud.google.com/bigquery/docs/iceberg-external-tables"
        ),
    },
    "redshift": {
        r'CREATE EXTERNAL SCHEMA IF NOT EXISTS "\w+" FROM DATA CATALOG DATABASE \'\w+\' '
        r"IAM_ROLE (default|'arn:aws:iam::\d{12}:role/[\w/-]+')": (
            "https://docs.aws.amazon.com/redshift/latest/dg/r_CREATE_EXTERNAL_SCHEMA.html"
        ),
    },
    "duckdb": {"LOAD iceberg": "https://duckdb.org/docs/stable/extensions/installing_extensions"},
    "spark": {
        r"CALL `\w+`\.system\.register_table\(table => '`\w+`\.`\w+`', metadata_file => '[^']+'\)": (
            "https://iceberg.apache.org/docs/latest/spark-procedures/#register_table"
        ),
    },
}
READERS: dict[Dialect, str] = {"bigquery": "group:analysts@example.com"}


def facts(name: str = "scores", scheme: str = "s3", columns: tuple[Column, ...] = (*SCORES, *KEPT)) -> Published:
    root = f"{scheme}://example-bucket/ware house"
    folder = f"{root}/tables/{name}"
    file = f"{folder}/metadata/00001-f45ec981.metadata.json"
    return Published(
        name, folder, file, f"{root}/catalog/tlnlp/{name}.json", columns, tuple(range(1, len(columns) + 1))
    )


def pair(scheme: str) -> list[Published]:
    return [facts(scheme=scheme), facts("quarantine", scheme, QUARANTINE)]


def made(dialect: Dialect, refresh: bool = False, scheme: str | None = None, **place: Any) -> list[Statement]:
    found = pair(scheme or SCHEMES.get(dialect, "s3"))
    return statements(found, dialect, DdlSettings(**place), refresh=refresh)


def every(dialect: Dialect) -> Iterator[Statement]:
    """Yield the statements of a dialect in all their forms."""
    reader = READERS.get(dialect, "analysts")
    yield from made(dialect, reader=reader)
    yield from made(dialect, refresh=True, reader=reader)
    if dialect == "redshift":
        yield from made(dialect, iam_role="arn:aws:iam::111122223333:role/example/reader")
    if dialect == "bigquery":
        yield from made(dialect, into="example-project.reviews", connection="example-project.eu.example")


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_statement_parses_in_its_dialect(dialect: Dialect, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "sqlglot")
    used = set()
    for one in every(dialect):
        (parsed,) = sqlglot.parse(one.sql, read=dialect)
        assert parsed is not None
        if isinstance(parsed, exp.Command):
            known = [form for form in OPAQUE.get(dialect, {}) if re.fullmatch(form, one.sql)]
            assert known, f"neither parsed nor listed by hand: {one.sql}"
            used.add(known[0])
        else:
            assert not list(parsed.find_all(exp.Command)), one.sql
    assert used == OPAQUE.get(dialect, {}).keys(), "listed by hand, and not needed"


@pytest.mark.parametrize("dialect", [dialect for dialect in DIALECTS if dialect != "snowflake"])
def test_the_check_names_every_column_of_the_table(dialect: Dialect) -> None:
    checks = [sqlglot.parse_one(one.sql, read=dialect) for one in made(dialect) if one.purpose == "check"]
    names = [[column.name for column in check.selects] for check in checks if isinstance(check, exp.Query)]
    assert names == [[column.name for column in (*SCORES, *KEPT)], [column.name for column in QUARANTINE]]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_both_tables_and_their_metadata_are_named(dialect: Dialect) -> None:
    text = script(made(dialect))
    for table in pair(SCHEMES.get(dialect, "s3")):
        assert table.name in text
        if dialect == "duckdb":
            assert f"read_json('{table.pointer}'" in text
        elif dialect not in ("athena", "redshift"):
            assert table.metadata_location.rpartition("/")[2] in text
    assert [line for line in text.splitlines() if not line.startswith("-- ")] == [f"{s.sql};" for s in made(dialect)]
    assert NOTES[dialect]


def test_duckdb_without_a_pointer_names_the_metadata_file() -> None:
    table = dataclasses.replace(facts(), pointer=None)
    found = statements([table], "duckdb", DdlSettings(), refresh=True)
    assert found[-1].sql == f"SET VARIABLE scores_metadata = '{table.metadata_location}'"


def test_snowflake_names_files_from_its_volume() -> None:
    whole = [one.sql for one in made("snowflake") if one.purpose == "table"]
    # The whole statement is compared, because sqlglot accepts any property here.
    assert whole[0] == (
        "CREATE ICEBERG TABLE IF NOT EXISTS tlnlp.public.scores EXTERNAL_VOLUME = 'tlnlp' CATALOG = 'tlnlp' "
        "METADATA_FILE_PATH = 'ware house/tables/scores/metadata/00001-f45ec981.metadata.json'"
    )
    inner = made("snowflake", refresh=True, volume_uri="s3://example-bucket/ware house/")
    assert inner[0].sql == (
        "ALTER ICEBERG TABLE tlnlp.public.scores REFRESH 'tables/scores/metadata/00001-f45ec981.metadata.json'"
    )
    with pytest.raises(UsageError, match="is not below it"):
        made("snowflake", volume_uri="s3://example-bucket/ware")


def test_bigquery_names_the_metadata_file() -> None:
    assert made("bigquery", refresh=True)[0].sql == (
        "CREATE OR REPLACE EXTERNAL TABLE `tlnlp`.`scores` OPTIONS (format = 'ICEBERG', "
        "uris = ['gs://example-bucket/ware house/tables/scores/metadata/00001-f45ec981.metadata.json'])"
    )


def test_what_a_later_night_needs() -> None:
    kinds = {dialect: [one.purpose for one in made(dialect, refresh=True)] for dialect in DIALECTS}
    assert kinds == {
        "athena": [],
        "redshift": [],
        "trino": ["table"] * 4,
        "snowflake": ["table"] * 2,
        "bigquery": ["table"] * 2,
        "duckdb": ["prepare", "table", "table"],
        "spark": ["table"] * 4,
    }


@pytest.mark.parametrize("dialect", ["trino", "snowflake", "bigquery", "redshift"])
def test_grants_come_with_a_reader_only(dialect: Dialect) -> None:
    assert not [one for one in made(dialect) if one.purpose == "grant"]
    grants = [one.sql for one in made(dialect, reader=READERS.get(dialect, "analysts")) if one.purpose == "grant"]
    assert grants
    assert all("analysts" in sql for sql in grants)


@pytest.mark.parametrize(
    ("dialect", "scheme", "reads"),
    [
        ("bigquery", "s3", "on s3://, and bigquery reads gs://"),
        ("athena", "gs", "on gs://, and athena reads s3://"),
        ("redshift", "az", "on az://, and redshift reads s3://"),
        ("snowflake", "az", "reads s3:// or gs://"),
        ("trino", "file", "on a local disk, and trino reads s3:// or gs://"),
        ("athena", "file", "on a local disk"),
        ("spark", "az", "reads file:// or s3:// or gs://"),
    ],
)
def test_a_store_that_the_dialect_cannot_read_is_refused(dialect: Dialect, scheme: str, reads: str) -> None:
    with pytest.raises(UsageError, match=reads):
        made(dialect, scheme=scheme)


@pytest.mark.parametrize(
    ("dialect", "place", "message"),
    [
        ("trino", {"into": "tlnlp"}, "write CATALOG.SCHEMA"),
        ("snowflake", {"into": "a.b.c"}, "write DATABASE.SCHEMA"),
        ("duckdb", {"into": "a; DROP TABLE b"}, "of letters, digits and _"),
        ("bigquery", {"into": "Big Project.d"}, "DATASET or PROJECT.DATASET"),
        ("bigquery", {"reader": "analysts"}, "group:analysts@example.com"),
        ("snowflake", {"reader": "an analyst"}, "letters, digits and _ only"),
        ("snowflake", {"integration": "x y"}, "letters, digits and _ only"),
    ],
)
def test_names_that_do_not_fit_are_refused(dialect: Dialect, place: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        made(dialect, **place)


def test_trino_finds_metadata_beside_the_table_only() -> None:
    table = dataclasses.replace(facts(), metadata_location="s3://example-bucket/elsewhere/1.metadata.json")
    with pytest.raises(UsageError, match="Trino registers metadata in"):
        statements([table], "trino", DdlSettings())


@pytest.mark.parametrize("dialect", ["trino", "snowflake", "bigquery", "duckdb", "spark"])
def test_a_quote_in_an_address_ends_no_text(dialect: Dialect) -> None:
    scheme = SCHEMES.get(dialect, "s3")
    folder = f"{scheme}://example-bucket/it's\\here"
    pointer = f"{folder}/catalog/scores.json"
    table = Published("scores", folder, f"{folder}/metadata/1.metadata.json", pointer, SCORES, tuple(range(11)))
    named = 0
    for refresh in (False, True):
        for one in statements([table], dialect, DdlSettings(), refresh=refresh):
            # The first word is cut off, because it can make sqlglot take the rest as one token.
            texts = [token.text for token in sqlglot.tokenize(one.sql.partition(" ")[2], read=dialect)]
            named += sum("it's\\here" in text for text in texts)
            assert "here" not in texts, one.sql
    assert named >= 2


def test_what_is_published_is_what_is_described(warehouse: Path) -> None:
    catalog = open_catalog(str(warehouse))
    with pytest.raises(NotFoundError, match="nothing has been published"):
        published_pair(catalog, "scores")
    extra: dict[str, Any] = {column.name: None for column in KEPT}
    file = write_rows(warehouse, "r1", [score_row(1, "r1", **extra)], [*SCORES, *KEPT])
    publish(warehouse, "r1", 0, files=[file], kept=KEPT)
    found = published(catalog, "scores")
    assert found.columns == (*SCORES, *KEPT)
    assert found.field_ids[:3] == (1, 2, 3)
    assert found.location == f"file://{warehouse}/tables/scores"
    assert Path(found.metadata_location.removeprefix("file://")).is_file()
    assert found.pointer == f"file://{warehouse}/catalog/tlnlp/scores.json"
    with pytest.raises(NotFoundError, match="table quarantine"):
        published_pair(catalog, "scores")
    owner: dict[str, Any] = {"source": "file:///documents", "model": "reviews", "run_id": "r1", "summary": {}}
    publish_day(catalog, Publication("quarantine", DAY, (), columns=QUARANTINE, **owner))
    assert [table.name for table in published_pair(catalog, "scores")] == ["scores", "quarantine"]
