"""Run SQL statements in Spark, ClickHouse or DuckDB, then print rows. A program for the environment in .cache/readers.

    python foreign_readers.py spark|clickhouse|duckdb < request > rows

The request is JSON: ``statements`` to run, ``selects`` whose rows are printed, ``state`` (a folder that the calls of
one test share), ``s3`` (the endpoint, or null). The rows of each select are JSON: dates and times as ISO text in UTC, a
map as an object.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from datetime import date, datetime
from pathlib import Path
from typing import Any

Rows = list[dict[str, Any]]


def plain(value: Any) -> Any:
    """Return a value of a row as JSON can hold it."""
    if isinstance(value, datetime):
        return value.replace(tzinfo=None).isoformat(timespec="microseconds")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, list) and value and isinstance(value[0], tuple):
        return dict(value)
    return value


def spark(request: dict[str, Any]) -> list[Rows]:
    """Run the request in Spark, with a catalog of its own in ``state``."""
    from pyspark.sql import SparkSession

    state, s3 = Path(request["state"]), request["s3"]
    catalog = "spark.sql.catalog.example"
    settings = {
        "spark.ui.enabled": "false",
        "spark.driver.extraClassPath": request["jars"],
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.extensions": "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions",
        catalog: "org.apache.iceberg.spark.SparkCatalog",
        f"{catalog}.type": "jdbc",
        f"{catalog}.uri": f"jdbc:sqlite:{state / 'catalog.db'}",
        f"{catalog}.jdbc.schema-version": "V1",
        f"{catalog}.warehouse": str(state / "unused"),
    }
    if s3:
        settings |= {
            f"{catalog}.io-impl": "org.apache.iceberg.aws.s3.S3FileIO",
            f"{catalog}.s3.endpoint": s3,
            f"{catalog}.s3.path-style-access": "true",
            f"{catalog}.client.region": os.environ["AWS_REGION"],
            # Iceberg's default client is not in the AWS SDK of the S3A jars.
            f"{catalog}.http-client.type": "urlconnection",
        }
    builder = SparkSession.builder.master("local[1]")
    for name, value in settings.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    try:
        for statement in request["statements"]:
            session.sql(statement).collect()
        return [[row.asDict() for row in session.sql(select).collect()] for select in request["selects"]]
    finally:
        session.stop()


def clickhouse(request: dict[str, Any]) -> list[Rows]:
    """Run the request in an embedded ClickHouse."""
    from chdb.session import Session

    session = Session()
    for statement in request["statements"]:
        session.query(statement)
    outputs = [session.query(select, "JSONEachRow").bytes().decode() for select in request["selects"]]
    return [[json.loads(line) for line in text.splitlines()] for text in outputs]


def duckdb(request: dict[str, Any]) -> list[Rows]:
    """Run the request in DuckDB, with a database in ``state``."""
    import duckdb as engine

    state = Path(request["state"])
    config: dict[str, Any] = {
        "extension_directory": str(state / "extensions"),
        "autoinstall_known_extensions": "false",
    }
    with engine.connect(str(state / "reader.duckdb"), config=config) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for name in ("avro", "httpfs", "iceberg"):
            folder = Path(importlib.import_module(f"duckdb_extension_{name}").__file__ or "").parent
            connection.install_extension(str(folder / f"extensions/v{engine.__version__}/{name}.duckdb_extension"))
        if request["s3"]:
            connection.execute("LOAD httpfs")
            connection.execute(_secret(request["s3"]))
        for statement in request["statements"]:
            connection.execute(statement)
        tables: list[Any] = [connection.execute(select).to_arrow_table() for select in request["selects"]]
        return [table.to_pylist() for table in tables]


def _secret(endpoint: str) -> str:
    host = endpoint.removeprefix("http://")
    keys = f"KEY_ID '{os.environ['AWS_ACCESS_KEY_ID']}', SECRET '{os.environ['AWS_SECRET_ACCESS_KEY']}'"
    return f"CREATE SECRET (TYPE s3, {keys}, ENDPOINT '{host}', URL_STYLE 'path', USE_SSL false)"


if __name__ == "__main__":
    reader = {"spark": spark, "clickhouse": clickhouse, "duckdb": duckdb}[sys.argv[1]]
    result = reader(json.load(sys.stdin))
    print(json.dumps([[{name: plain(value) for name, value in row.items()} for row in rows] for rows in result]))
