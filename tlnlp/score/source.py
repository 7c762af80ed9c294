"""Read documents with Spark, from Parquet, JSON Lines or CSV.

Reading is lazy, and a malformed record becomes a row with a fault instead of an error. Every reader returns the same
columns: ``document_id``, ``text``, ``source`` (URI of the file), ``fault`` (the quarantine reason of a malformed
record, else null), then the kept columns under the names of ``contract.kept_name``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import (
    BinaryType,
    BooleanType,
    DataType,
    DoubleType,
    LongType,
    StringType,
    StructField,
    StructType,
)

from tlnlp.config import ScoreSettings
from tlnlp.data.tables import data_keys, format_of, split_uri
from tlnlp.errors import InputDataError, NothingToPublishError
from tlnlp.score.contract import kept_name
from tlnlp.score.session import spark_errors, spark_input
from tlnlp.warehouse.schema import Column as TableColumn
from tlnlp.warehouse.schema import kept_column, spark_type

# Spark's readers write the malformed records into this column.
CORRUPT = "_tlnlp_corrupt_record"
# JSON column types are inferred from so many lines.
SAMPLE_LINES = 200


def read_documents(spark: SparkSession, settings: ScoreSettings) -> tuple[DataFrame, tuple[TableColumn, ...]]:
    """Return a lazy frame of the documents, and the kept columns with their types.

    Raises:
        InputDataError: there are no files, a column is missing, or the text column does not hold text.
        NothingToPublishError: the files hold no records.
        UsageError: a kept column has a type that the table cannot store.
    """
    kind = settings.format if settings.format != "auto" else detect_format(settings.documents)
    path = spark_input(settings.documents)
    with spark_errors(settings.documents):
        if kind == "json":
            frame = _json(spark, path, settings)
        elif kind == "csv":
            frame = _csv(spark, path, settings)
        else:
            frame = spark.read.parquet(path).withColumn(CORRUPT, F.lit(None).cast("string"))
            frame = frame.withColumn("_tlnlp_source", F.col("_metadata.file_path"))
    wanted = [settings.id_column, settings.text_column, *settings.keep_columns]
    _check_columns(settings, wanted, [name for name in frame.columns if not name.startswith("_tlnlp_")])
    types = {field.name: field.dataType for field in frame.schema.fields}
    if not isinstance(types[settings.text_column], StringType | BinaryType):
        found = types[settings.text_column].simpleString()
        raise InputDataError(
            f"{settings.documents}: column {settings.text_column!r} holds {found}, not text; "
            "name the text column with --set text_column="
        )
    kept_columns = tuple(kept_column(name, types[name].simpleString()) for name in settings.keep_columns)
    return _contract_columns(frame, settings, kept_columns), kept_columns


def detect_format(uri: str) -> str:
    """Return the format of a file or folder, judged by the file names: ``parquet``, ``json`` or ``csv``.

    Raises:
        InputDataError: there are no files, or their names show no format, or several.
    """
    folder, name = split_uri(uri)
    keys = [name] if folder.exists(name) else data_keys(folder, name)
    if not keys:
        raise InputDataError(f"{uri}: nothing is there; check the path")
    kinds = {format_of(key) for key in keys} - {None}
    if len(kinds) != 1:
        problem = "the folder holds several formats" if kinds else "no file name ends in .parquet, .jsonl or .csv"
        raise InputDataError(f"{uri}: {problem}; check the path, or give the format with --set format=")
    return str(kinds.pop())


def _check_columns(settings: ScoreSettings, wanted: Sequence[str], columns: Sequence[str]) -> None:
    if missing := [name for name in wanted if name not in columns]:
        raise InputDataError(
            f"{settings.documents}: the input has no column {', '.join(map(repr, missing))} (it has: "
            f"{', '.join(columns)}); name your columns with --set id_column=, text_column= and keep_columns="
        )


def _contract_columns(frame: DataFrame, settings: ScoreSettings, kept_columns: Sequence[TableColumn]) -> DataFrame:
    """Return the columns that every reader returns (see the module)."""
    kept = [_kept_value(column).alias(kept_name(number)) for number, column in enumerate(kept_columns)]
    return frame.select(
        _quoted(settings.id_column).cast("string").alias("document_id"),
        _quoted(settings.text_column).cast("string").alias("text"),
        F.regexp_replace("_tlnlp_source", "^s3a:", "s3:").alias("source"),
        F.when(F.col(CORRUPT).isNotNull(), F.col(CORRUPT)).alias("fault"),
        *kept,
    )


def _kept_value(column: TableColumn) -> Column:
    value = _quoted(column.name).cast(spark_type(column.type))
    # Readers of the table expect UTF-8, and fail on any other bytes.
    return F.make_valid_utf8(value) if column.type == "string" else value


def _quoted(name: str) -> Column:
    return F.col("`" + name.replace("`", "``") + "`")


def _json(spark: SparkSession, path: str, settings: ScoreSettings) -> DataFrame:
    """Read JSON Lines. A line that is not exactly one object, or whose text is not a string, gets a fault.

    Lines are read as text and parsed here, because Spark's JSON reader converts a number to a text silently. Spark's
    parser ignores what follows the first value of a line. So each line is wrapped in an object with an ``end`` field:
    ``end`` is null if the line holds more than one value.
    """
    lines = spark.read.text(path).withColumn("_tlnlp_source", F.col("_metadata.file_path"))
    lines = lines.withColumn("value", F.ltrim("value", F.lit("\ufeff"))).where(~F.col("value").rlike(r"^\s*$"))
    sample = [row["value"] for row in lines.select("value").limit(SAMPLE_LINES).collect()]
    if not sample:
        raise _no_documents(settings)
    schema = _sampled_schema(sample, settings, partitions=set(lines.columns) - {"value", "_tlnlp_source"})
    wrapped = F.concat(F.lit('{"line":'), "value", F.lit(',"end":true}'))
    parsed = F.from_json(
        wrapped,
        StructType(
            [StructField("line", schema), StructField("end", BooleanType()), StructField(CORRUPT, StringType())]
        ),
        {"mode": "PERMISSIVE", "columnNameOfCorruptRecord": CORRUPT},
    )
    sound = F.col(f"parsed.{CORRUPT}").isNull() & F.col("parsed.line").isNotNull() & F.col("parsed.end").isNotNull()
    variant = F.try_variant_get(F.try_parse_json("value"), _json_path(settings.text_column), "variant")
    kind = F.schema_of_variant(variant)
    fault = (
        F.when(~F.is_valid_utf8("value"), F.lit("not_text"))
        .when(~sound, F.lit("malformed_record"))
        .when(kind.isNotNull() & ~kind.isin("STRING", "VOID"), F.lit("not_text"))
        .otherwise(F.lit(None).cast("string"))
    )
    fields = [F.col("parsed.line").getField(name).alias(name) for name in schema.names]
    others = [name for name in lines.columns if name not in {"value", *schema.names}]
    frame = lines.withColumn("parsed", parsed).withColumn("_tlnlp_fault", fault)
    return frame.select(*fields, *others, F.col("_tlnlp_fault").alias(CORRUPT))


def _json_path(name: str) -> str:
    return "$['" + name.replace("'", "\\'") + "']"


def _sampled_schema(lines: Sequence[str], settings: ScoreSettings, partitions: set[str]) -> StructType:
    """Return the type of each wanted column, inferred from the lines; columns of ``partitions`` are left out."""
    objects = [value for line in lines if isinstance(value := _parse(line), dict)]
    names = dict.fromkeys(name for value in objects for name in value)  # In the order of first appearance.
    strings = {settings.id_column, settings.text_column}
    if objects and not any(isinstance(value.get(settings.text_column), str | None) for value in objects):
        raise InputDataError(
            f"{settings.documents}: column {settings.text_column!r} holds no text in the first {SAMPLE_LINES} lines; "
            "name the text column with --set text_column="
        )
    fields = [
        StructField(name, StringType() if name in strings else _json_type([value.get(name) for value in objects]))
        for name in names
        if name not in partitions and (name in strings or name in settings.keep_columns)
    ]
    return StructType(fields)


def _parse(line: str) -> object:
    try:
        return json.loads(line)
    except ValueError:
        return None


def _json_type(values: Sequence[object]) -> DataType:
    kinds = {type(value) for value in values if value is not None}
    if kinds == {bool}:
        return BooleanType()
    if kinds == {int}:
        return LongType()
    return DoubleType() if kinds and kinds <= {int, float} else StringType()


def _csv(spark: SparkSession, path: str, settings: ScoreSettings) -> DataFrame:
    """Read CSV with every column as text. A record with too few or too many fields gets a fault."""
    options = {
        "header": str(settings.csv.header).lower(),
        "sep": settings.csv.delimiter,
        "quote": settings.csv.quote,
        "escape": settings.csv.escape,
        "multiLine": str(settings.csv.multiline).lower(),
        "mode": "PERMISSIVE",
        "columnNameOfCorruptRecord": CORRUPT,
        # Columns are matched by name: a file with another header fails the run instead of filling the wrong columns.
        "enforceSchema": "false",
    }
    # The first line holds the column names. Without a header, the first record gives the number of columns.
    first = options | ({"multiLine": "false"} if settings.csv.header else {})
    header = spark.read.options(**first).csv(path)
    if not header.columns:
        raise _no_documents(settings)
    schema = StructType([StructField(name, StringType()) for name in [*header.columns, CORRUPT]])
    frame = spark.read.options(**options).schema(schema).csv(path)
    broken = F.when(F.col(CORRUPT).isNotNull(), F.lit("malformed_record"))
    return frame.withColumn("_tlnlp_source", F.col("_metadata.file_path")).withColumn(CORRUPT, broken)


def _no_documents(settings: ScoreSettings) -> NothingToPublishError:
    return NothingToPublishError(
        f"{settings.documents}: the input holds no documents; nothing was published; check the path and the export "
        "that writes it"
    )
