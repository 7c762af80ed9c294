"""Reading documents with Spark: lazily, once, and so that no malformed record goes unseen.

Every reader gives the same columns: ``document_id``, ``text``, ``source`` (the file), ``fault`` (why the record is
none, or null), then the kept columns (named by ``contract.kept_name``).
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
from tlnlp.score.session import spark_input, translated
from tlnlp.warehouse.schema import Column as TableColumn
from tlnlp.warehouse.schema import kept_column, spark_type

CORRUPT = "_tlnlp_corrupt_record"
SAMPLE_LINES = 200


def read_documents(spark: SparkSession, settings: ScoreSettings) -> tuple[DataFrame, tuple[TableColumn, ...]]:
    """The documents, not read yet, and the kept columns with their types.

    Raises:
        InputDataError: nothing is there, a column is missing, or the text column holds no text.
        NothingToPublishError: there are files, and no record in them.
        UsageError: a kept column has a type that a table cannot keep.
    """
    kind = settings.format if settings.format != "auto" else detect_format(settings.documents)
    path = spark_input(settings.documents)
    with translated(settings.documents):
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
            "name the right one with --set text_column="
        )
    kept = tuple(kept_column(name, types[name].simpleString()) for name in settings.keep_columns)
    return _contracted(frame, settings, kept), kept


def detect_format(uri: str) -> str:
    """The format that the names of the files tell; all must tell the same.

    Raises:
        InputDataError: nothing is there, or the names tell no format, or several.
    """
    folder, name = split_uri(uri)
    keys = [name] if folder.exists(name) else data_keys(folder, name)
    if not keys:
        raise InputDataError(f"{uri}: nothing is there; check the path")
    kinds = {format_of(key) for key in keys} - {None}
    if len(kinds) != 1:
        what = "files of several formats" if kinds else "no .parquet, .jsonl or .csv file"
        raise InputDataError(f"{uri}: {what} there; check the path, or say which with --set format=")
    return str(kinds.pop())


def _check_columns(settings: ScoreSettings, wanted: Sequence[str], columns: Sequence[str]) -> None:
    if missing := [name for name in wanted if name not in columns]:
        raise InputDataError(
            f"{settings.documents}: has no column {', '.join(map(repr, missing))} (it has: {', '.join(columns)}); "
            "name yours with --set id_column=, text_column= and keep_columns="
        )


def _contracted(frame: DataFrame, settings: ScoreSettings, kept: Sequence[TableColumn]) -> DataFrame:
    kept_columns = [_kept(column).alias(kept_name(number)) for number, column in enumerate(kept)]
    return frame.select(
        _named(settings.id_column).cast("string").alias("document_id"),
        _named(settings.text_column).cast("string").alias("text"),
        F.regexp_replace("_tlnlp_source", "^s3a:", "s3:").alias("source"),
        F.when(F.col(CORRUPT).isNotNull(), F.col(CORRUPT)).alias("fault"),
        *kept_columns,
    )


def _kept(column: TableColumn) -> Column:
    value = _named(column.name).cast(spark_type(column.type))
    # A table's strings are UTF-8; what is not would break whoever reads them.
    return F.make_valid_utf8(value) if column.type == "string" else value


def _named(name: str) -> Column:
    return F.col("`" + name.replace("`", "``") + "`")


def _json(spark: SparkSession, path: str, settings: ScoreSettings) -> DataFrame:
    """JSON Lines, a line at a time: a line that is not one object, or whose text is no string, is a fault of its own.

    The reader sees lines as text first, since Spark's own would turn a number into a text without a word. The parser
    stops at the end of the first value, so a line is parsed inside an object of ours, whose own end must be reached.
    """
    lines = spark.read.text(path).withColumn("_tlnlp_source", F.col("_metadata.file_path"))
    lines = lines.withColumn("value", F.ltrim("value", F.lit("\ufeff"))).where(~F.col("value").rlike(r"^\s*$"))
    sample = [row["value"] for row in lines.select("value").limit(SAMPLE_LINES).collect()]
    if not sample:
        raise NothingToPublishError(f"{settings.documents}: no documents there; nothing was published")
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
    objects = [value for line in lines if isinstance(value := _parsed(line), dict)]
    names = dict.fromkeys(name for value in objects for name in value)
    strings = {settings.id_column, settings.text_column}
    if objects and not any(isinstance(value.get(settings.text_column), str | None) for value in objects):
        raise InputDataError(f"{settings.documents}: column {settings.text_column!r} holds no text in the first lines")
    fields = [
        StructField(name, StringType() if name in strings else _json_type([value.get(name) for value in objects]))
        for name in names
        if name not in partitions and (name in strings or name in settings.keep_columns)
    ]
    return StructType(fields)


def _parsed(line: str) -> object:
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
    """CSV, every column as text; a record with too few or too many fields is a fault."""
    options = {
        "header": str(settings.csv.header).lower(),
        "sep": settings.csv.delimiter,
        "quote": settings.csv.quote,
        "escape": settings.csv.escape,
        "multiLine": str(settings.csv.multiline).lower(),
        "mode": "PERMISSIVE",
        "columnNameOfCorruptRecord": CORRUPT,
        # Columns are found by name: a file whose header differs stops the run instead of filling the wrong columns.
        "enforceSchema": "false",
    }
    # The names stand in the first line; without a header, the first record tells how many there are.
    first = options | ({"multiLine": "false"} if settings.csv.header else {})
    header = spark.read.options(**first).csv(path)
    if not header.columns:
        raise NothingToPublishError(f"{settings.documents}: no documents there; nothing was published")
    schema = StructType([StructField(name, StringType()) for name in [*header.columns, CORRUPT]])
    frame = spark.read.options(**options).schema(schema).csv(path)
    broken = F.when(F.col(CORRUPT).isNotNull(), F.lit("malformed_record"))
    return frame.withColumn("_tlnlp_source", F.col("_metadata.file_path")).withColumn(CORRUPT, broken)
