"""Read documents with Spark, from Parquet, JSON Lines or CSV.

Reading is lazy, and a malformed record becomes a row with a fault instead of an error. Every reader returns the same
columns: ``document_id``, ``text``, ``source`` (URI of the file), ``fault`` (the quarantine reason of a malformed
record, else null), ``detail`` (where it stands, and what is wrong), then the kept columns under the names of
``contract.kept_name``.

Files are listed, and lines are split into records and values, by the functions that read labels too (``tlnlp.data``).
Spark lists and reads the same files: it is given their folder and a pattern of their names, since it opens tens of
thousands of paths slowly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

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
from tlnlp.data.csv_records import CsvDialect
from tlnlp.data.json_lines import parse_line
from tlnlp.data.line_batches import LINE, SOURCE, START, WHOLE, LinePlan, parse_batches
from tlnlp.data.samples import csv_columns, first_lines, split_columns
from tlnlp.data.tables import CODECS, FORMATS, SourceFile, format_of, source_files, split_uri
from tlnlp.data.text import with_escapes
from tlnlp.errors import InputDataError, NothingToPublishError
from tlnlp.score.contract import kept_name
from tlnlp.score.session import spark_errors, spark_input
from tlnlp.warehouse.schema import Column as TableColumn
from tlnlp.warehouse.schema import kept_column, spark_type

# Malformed records have their fault, and its place and detail, in these columns.
CORRUPT, DETAIL = "_tlnlp_corrupt_record", "_tlnlp_detail"
# JSON column types are inferred from so many lines.
SAMPLE_LINES = 200
# Files with these endings are never split, so their lines stay in order.
_NEVER_SPLIT = (".gz", ".zst")
_SPARK_TYPES: dict[str, DataType] = {
    "string": StringType(),
    "bigint": LongType(),
    "double": DoubleType(),
    "boolean": BooleanType(),
}


@dataclass(frozen=True)
class _Input:
    """The files of a night, and how Spark is told of them: options and paths.

    ``partitions`` are the wanted columns that are in the names of the folders (``day=2026-01-31``).
    """

    files: list[SourceFile]
    options: dict[str, str]
    paths: list[str]
    partitions: tuple[str, ...]


def read_documents(spark: SparkSession, settings: ScoreSettings) -> tuple[DataFrame, tuple[TableColumn, ...]]:
    """Return a lazy frame of the documents, and the kept columns with their types.

    Raises:
        InputDataError: there are no files, a column is missing, or the text column does not hold text.
        NothingToPublishError: the files hold no records.
        UsageError: a kept column has a type that the table cannot store.
    """
    wanted = list(dict.fromkeys([settings.id_column, settings.text_column, *settings.keep_columns]))
    given = _find_input(settings, wanted)
    with spark_errors(settings.documents):
        if given.files[0].format == "parquet":
            frame = spark.read.options(**given.options).parquet(*given.paths)
            _check_columns(settings, wanted, frame.columns)
            frame = frame.withColumns(dict.fromkeys((CORRUPT, DETAIL), F.lit(None).cast("string")))
            frame = frame.withColumn(SOURCE, F.col("_metadata.file_path"))
        else:
            frame = _records(spark, settings, given, wanted)
    types = {field.name: field.dataType for field in frame.schema.fields}
    if not isinstance(types[settings.text_column], StringType | BinaryType):
        found = types[settings.text_column].simpleString()
        raise InputDataError(
            f"{settings.documents}: column {settings.text_column!r} holds {found}, not text; "
            "name the text column with --set text_column="
        )
    kept_columns = tuple(kept_column(name, types[name].simpleString()) for name in settings.keep_columns)
    return _contract_columns(frame, settings, kept_columns), kept_columns


def _find_input(settings: ScoreSettings, wanted: Sequence[str]) -> _Input:
    """List the files, check that Spark can read them all in one way, and return them with Spark's options and paths."""
    files = source_files(settings.documents, settings.format)
    if len({file.format for file in files}) > 1:
        raise InputDataError(
            f"{settings.documents}: the folder holds several formats; check the path, or give the format with "
            "--set format="
        )
    for file in files:
        ending = file.key[file.key.rfind(".") :]
        if file.codec is not None and (file.format == "parquet" or ending not in CODECS):
            raise InputDataError(f"{file.uri}: Spark cannot read such a file; decompress it, or write it as {ending}")
    _, name = split_uri(settings.documents)
    if len(files) == 1 and files[0].key == name:
        return _Input(files, {}, [spark_input(settings.documents)], ())
    options = {"basePath": spark_input(settings.documents)}
    partitions = _partitions(settings, files, name, wanted)
    if not partitions:
        options = {"recursiveFileLookup": "true"}
    if all(format_of(file.key) == file.format for file in files):
        options["pathGlobFilter"] = _name_pattern(files[0].format)
        return _Input(files, options, [spark_input(settings.documents)], partitions)
    return _Input(files, options, [spark_input(file.uri) for file in files], partitions)


def _partitions(
    settings: ScoreSettings, files: Sequence[SourceFile], name: str, wanted: Sequence[str]
) -> tuple[str, ...]:
    """Return the wanted columns that are in the names of folders.

    Raises:
        InputDataError: some files lie in other folders. Spark would leave them out.
    """
    layouts = {
        tuple(part.partition("=")[0] for part in file.key.removeprefix(f"{name}/").split("/")[:-1] if "=" in part)
        for file in files
    }
    found = tuple(column for column in wanted if any(column in layout for layout in layouts))
    if found and len(layouts) > 1:
        raise InputDataError(
            f"{settings.documents}: column {found[0]!r} is in the names of folders ({found[0]}=...), but not all files "
            "are in such folders; move the others away, or leave the column out"
        )
    return found


def _name_pattern(format: str) -> str:
    """Return the pattern of Hadoop that the names of files in a format match, in upper and lower case."""
    endings = [ending for ending, kind in FORMATS.items() if kind == format]
    codecs = ["", *CODECS] if format != "parquet" else [""]
    either = {letter: f"[{letter}{letter.upper()}]" for letter in "abcdefghijklmnopqrstuvwxyz"}
    return "*{" + ",".join("".join(either.get(c, c) for c in e) + codec for e in endings for codec in codecs) + "}"


def _check_columns(settings: ScoreSettings, wanted: Sequence[str], columns: Sequence[str]) -> None:
    if missing := [name for name in wanted if name not in columns]:
        raise InputDataError(
            f"{settings.documents}: the input has no column {', '.join(map(repr, missing))} (it has: "
            f"{', '.join(map(with_escapes, columns))}); name your columns with --set id_column=, text_column= and "
            "keep_columns="
        )


def _contract_columns(frame: DataFrame, settings: ScoreSettings, kept_columns: Sequence[TableColumn]) -> DataFrame:
    """Return the columns that every reader returns (see the module)."""
    kept = [_kept_value(column).alias(kept_name(number)) for number, column in enumerate(kept_columns)]
    return frame.select(
        _quoted(settings.id_column).cast("string").alias("document_id"),
        _quoted(settings.text_column).cast("string").alias("text"),
        F.regexp_replace(SOURCE, "^s3a:", "s3:").alias("source"),
        F.when(F.col(CORRUPT).isNotNull(), F.col(CORRUPT)).alias("fault"),
        F.col(DETAIL).alias("detail"),
        *kept,
    )


def _kept_value(column: TableColumn) -> Column:
    value = _quoted(column.name).cast(spark_type(column.type))
    # Readers of the table expect UTF-8, and fail on any other bytes.
    return F.make_valid_utf8(value) if column.type == "string" else value


def _quoted(name: str) -> Column:
    return F.col("`" + name.replace("`", "``") + "`")


def _records(spark: SparkSession, settings: ScoreSettings, given: _Input, wanted: Sequence[str]) -> DataFrame:
    """Read JSON Lines or CSV: Spark reads lines, and Python workers parse them."""
    kind, dialect = given.files[0].format, CsvDialect.of(settings.csv)
    from_lines = [name for name in wanted if name not in given.partitions]
    if kind == "json":
        names, types = _json_types(settings, given, from_lines)
    else:
        names = csv_columns(given.files, dialect, settings.encoding, from_lines)
        types = dict.fromkeys(names, "string")
        if not names:
            raise no_documents(settings)
    _check_columns(settings, wanted, [*names, *given.partitions])
    plan = LinePlan(
        kind,
        dialect,
        settings.id_column,
        settings.text_column,
        tuple((name, types[name]) for name in from_lines),
        (SOURCE, *given.partitions),
        CORRUPT,
        DETAIL,
        _names_in_splits(spark, given.files, dialect, settings.encoding) if kind == "csv" else (),
        settings.encoding,
    )
    # The end of a line is the line feed alone, as for the other readers.
    lines = spark.read.option("lineSep", "\n").options(**given.options).text(given.paths)
    lines = lines.select(
        F.col("value").cast("binary").alias(LINE),
        F.col("_metadata.file_path").alias(SOURCE),
        F.when(F.col("_metadata.file_block_length") < F.col("_metadata.file_size"), F.col("_metadata.file_block_start"))
        .otherwise(WHOLE)
        .alias(START),
        *(_quoted(name) for name in given.partitions),
    )
    passed = [field for field in lines.schema.fields if field.name in plan.passed]
    if kind == "csv" and not plan.names and not all(file.key.endswith(_NEVER_SPLIT) for file in given.files):
        # A field may go on in the next split, so the lines of each file come together in one task, in their order.
        lines = lines.withColumn("_tlnlp_number", F.monotonically_increasing_id())
        lines = lines.repartition(SOURCE).sortWithinPartitions(SOURCE, START, "_tlnlp_number").drop("_tlnlp_number")

    values = [StructField(name, _SPARK_TYPES[kind]) for name, kind in plan.columns]
    schema = StructType([*values, *(StructField(name, StringType()) for name in (CORRUPT, DETAIL)), *passed])
    return lines.mapInArrow(partial(parse_batches, plan=plan), schema)


def _names_in_splits(
    spark: SparkSession, files: Sequence[SourceFile], dialect: CsvDialect, encoding: str
) -> tuple[str, ...]:
    """Return the columns of the CSV files that Spark may split, where a file can be read in splits; else nothing.

    A split does not see the header of its file. So splits can be read only where these files have one header.
    """
    if dialect.multiline:
        return ()
    sizes = [spark.conf.get(f"spark.sql.files.{key}") for key in ("maxPartitionBytes", "openCostInBytes")]
    utils = spark._jvm.org.apache.spark.network.util.JavaUtils  # type: ignore[union-attr]
    least = min(int(utils.byteStringAsBytes(size)) for size in sizes)
    large = [file for file in files if file.size_bytes > least and not file.key.endswith(_NEVER_SPLIT)]
    return tuple(split_columns(large or [file for file in files if file.size_bytes][:1], dialect, encoding) or ())


def _json_types(settings: ScoreSettings, given: _Input, wanted: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Return the names of the columns by the first lines, and the type of each."""
    sample = first_lines(given.files, SAMPLE_LINES)
    if not sample:
        raise no_documents(settings)
    objects = [record for line in sample if (record := parse_line(line, (), settings.encoding)[0]) is not None]
    names = list(dict.fromkeys(name for record in objects for name in record))
    strings = {settings.id_column, settings.text_column}
    if settings.text_column in wanted and settings.text_column in names:
        texts = [record.get(settings.text_column) for record in objects]
        if not any(isinstance(text, str | None) for text in texts):
            raise InputDataError(
                f"{settings.documents}: column {settings.text_column!r} holds no text in the first {SAMPLE_LINES} "
                "lines; name the text column with --set text_column="
            )
    return names, {
        name: "string" if name in strings else _json_type([record.get(name) for record in objects]) for name in names
    }


def _json_type(values: Sequence[object]) -> str:
    kinds = [type(value) for value in values if value is not None]
    if kinds and all(kind is bool for kind in kinds):
        return "boolean"
    if kinds and all(kind is int for kind in kinds):
        return "bigint"
    return "double" if kinds and all(issubclass(kind, int | float) and kind is not bool for kind in kinds) else "string"


def no_documents(settings: ScoreSettings) -> NothingToPublishError:
    """Return the error of a night whose input holds no documents."""
    return NothingToPublishError(
        f"{settings.documents}: the input holds no documents; nothing was published; check the path and the export "
        "that writes it"
    )
