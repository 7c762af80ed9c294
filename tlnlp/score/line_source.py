"""Read documents from JSON Lines or CSV: Spark reads lines, and Python workers parse them.

All values come as text, by the rule of ``tlnlp.data.values``; kept columns get their types later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StringType, StructField, StructType

from tlnlp.config import ScoreSettings
from tlnlp.data.csv_records import CsvDialect
from tlnlp.data.json_lines import parse_line
from tlnlp.data.json_types import NAME, TYPE, column_type, scan_batches
from tlnlp.data.line_batches import LINE, SOURCE, START, WHOLE, LinePlan, parse_batches
from tlnlp.data.samples import csv_columns, first_lines, split_columns
from tlnlp.data.text import with_escapes
from tlnlp.errors import InputDataError, NothingToPublishError
from tlnlp.runs.progress import say
from tlnlp.score.source_files import SourceFiles, check_files, quoted, quoted_name

# Malformed records have their fault, and its place and detail, in these columns.
CORRUPT, DETAIL = "_tlnlp_corrupt_record", "_tlnlp_detail"
# The value in the names of folders, of the partition of this number.
FOLDER = "_tlnlp_folder_"
# Whether a JSON column holds ids and texts is seen in so many lines.
SAMPLE_LINES = 200
# Files with these endings are never split, so their lines stay in order.
_NEVER_SPLIT = (".gz", ".zst")


@dataclass(frozen=True)
class Records:
    """Parsed documents.

    Fields:
        frame: a text column for each wanted column, ``CORRUPT``, ``DETAIL``, ``SOURCE``, and ``FOLDER`` columns.
        types: the types that new kept columns get, by name.
        in_both: the partitions that are columns of the files too.
    """

    frame: DataFrame
    types: dict[str, str]
    in_both: tuple[str, ...]


def read_lines(
    spark: SparkSession, settings: ScoreSettings, given: SourceFiles, wanted: Sequence[str], new: Sequence[str]
) -> Records:
    """Return the documents of JSON Lines or CSV.

    Args:
        new: kept columns that the table does not have yet. All values of these are looked at, once, to find a type.

    Raises:
        InputDataError: a column is missing, or a file cannot be read.
        NothingToPublishError: the files hold no records.
        StorageError: the store cannot be read.
    """
    kind, dialect = given.format, CsvDialect.of(settings.csv)
    lines = _lines(spark, given)
    types = dict.fromkeys(wanted, "string")
    from_lines = [name for name in wanted if name not in given.partitions]
    if kind == "json":
        names = _json_names(settings, given)
    else:
        names = csv_columns(given.files, dialect, settings.encoding, from_lines)
    if not names:
        raise no_documents(settings)
    if kind == "json":
        needed = [name for name in (settings.id_column, settings.text_column) if name in from_lines]
        if scanned := [name for name in new if name in from_lines and name not in needed]:
            found = _json_types(lines, scanned, settings.encoding)
            types |= {name: found[name] for name in scanned if name in found}
            names, needed = list(dict.fromkeys([*names, *found])), [*needed, *scanned]
        _check_columns(settings, needed, names)
    else:
        _check_columns(settings, from_lines, names)
    in_both = tuple(name for name in given.partitions if kind == "json" or name in names)
    passed = [f"{FOLDER}{number}" for number in range(len(given.partitions))]
    plan = LinePlan(
        kind,
        dialect,
        settings.id_column,
        settings.text_column,
        (*from_lines, *in_both),
        (SOURCE, *passed),
        CORRUPT,
        DETAIL,
        _names_in_splits(spark, given, dialect, settings.encoding) if kind == "csv" else (),
        settings.encoding,
    )
    if kind == "csv" and not plan.names and not all(file.key.endswith(_NEVER_SPLIT) for file in given.files):
        # A field may go on in the next split, so the lines of each file come together in one task, in their order.
        lines = lines.withColumn("_tlnlp_number", F.monotonically_increasing_id())
        lines = lines.repartition(SOURCE).sortWithinPartitions(SOURCE, START, "_tlnlp_number").drop("_tlnlp_number")
    texts = [*plan.columns, CORRUPT, DETAIL, *plan.passed]
    schema = StructType([StructField(name, StringType()) for name in texts])
    return Records(lines.mapInArrow(partial(parse_batches, plan=plan), schema), types, in_both)


def _lines(spark: SparkSession, given: SourceFiles) -> DataFrame:
    schema = ", ".join(f"{quoted_name(name)} string" for name in ["value", *given.partitions])
    # The end of a line is the line feed alone, as for the other readers.
    lines = spark.read.option("lineSep", "\n").options(**given.options).schema(schema).text(given.paths)
    check_files([lines], given.files, given.uri)
    return lines.select(
        F.col("value").cast("binary").alias(LINE),
        F.col("_metadata.file_path").alias(SOURCE),
        F.when(F.col("_metadata.file_block_length") < F.col("_metadata.file_size"), F.col("_metadata.file_block_start"))
        .otherwise(WHOLE)
        .alias(START),
        *(quoted(name).alias(f"{FOLDER}{number}") for number, name in enumerate(given.partitions)),
    )


def _names_in_splits(spark: SparkSession, given: SourceFiles, dialect: CsvDialect, encoding: str) -> tuple[str, ...]:
    """Return the columns of the CSV files that Spark may split, where a file can be read in splits; else nothing.

    A split does not see the header of its file. So splits can be read only where these files have one header.
    """
    if dialect.multiline:
        return ()
    sizes = [spark.conf.get(f"spark.sql.files.{key}") for key in ("maxPartitionBytes", "openCostInBytes")]
    utils = spark._jvm.org.apache.spark.network.util.JavaUtils  # type: ignore[union-attr]
    least = min(int(utils.byteStringAsBytes(size)) for size in sizes)
    large = [file for file in given.files if file.size_bytes > least and not file.key.endswith(_NEVER_SPLIT)]
    return tuple(split_columns(large or [file for file in given.files if file.size_bytes][:1], dialect, encoding) or ())


def _json_names(settings: ScoreSettings, given: SourceFiles) -> list[str]:
    """Return the names of the columns by the first lines."""
    sample = first_lines(given.files, SAMPLE_LINES)
    if not sample:
        raise no_documents(settings)
    objects = [record for line in sample if (record := parse_line(line, (), settings.encoding)[0]) is not None]
    names = list(dict.fromkeys(name for record in objects for name in record))
    if settings.text_column not in given.partitions and settings.text_column in names:
        texts = [record.get(settings.text_column) for record in objects]
        if not any(isinstance(text, str | None) for text in texts):
            raise InputDataError(
                f"{settings.documents}: column {settings.text_column!r} holds no text in the first {SAMPLE_LINES} "
                "lines; name the text column with --set text_column="
            )
    return names


def _json_types(lines: DataFrame, columns: Sequence[str], encoding: str) -> dict[str, str]:
    """Return the type of each column by all of its values; the names of other columns stand beside them."""
    schema = StructType([StructField(NAME, StringType()), StructField(TYPE, StringType())])
    say(f"looking at all documents for the types of new kept columns: {', '.join(columns)}")
    scanned = lines.select(LINE).mapInArrow(
        partial(scan_batches, columns=frozenset(columns), encoding=encoding), schema
    )
    kinds: dict[str, set[str]] = {}
    for name, kind in scanned.distinct().collect():
        kinds.setdefault(name, set()).add(kind)
    return {name: column_type(found) for name, found in kinds.items()}


def _check_columns(settings: ScoreSettings, wanted: Sequence[str], columns: Sequence[str]) -> None:
    if missing := [name for name in wanted if name not in columns]:
        raise InputDataError(
            f"{settings.documents}: the input has no column {', '.join(map(repr, missing))} (it has: "
            f"{', '.join(map(with_escapes, columns))}); name your columns with --set id_column=, text_column= and "
            "keep_columns="
        )


def no_documents(settings: ScoreSettings) -> NothingToPublishError:
    """Return the error of a night whose input holds no documents."""
    return NothingToPublishError(
        f"{settings.documents}: the input holds no documents; nothing was published; check the path and the export "
        "that writes it"
    )
