"""Read documents with Spark, from Parquet, JSON Lines or CSV.

Reading is lazy, and a malformed record becomes a row with a fault instead of an error. Every reader returns the same
columns: ``document_id``, ``text``, ``source`` (URI of the file), ``fault`` (the quarantine reason of a malformed
record, else null), ``detail`` (where it stands, and what is wrong), then the kept columns under the names of
``contract.kept_name``, then columns that say what is wrong with a kept value (see ``kept_values``).

Files are listed, and lines are split into records and values, by the functions that read labels too (``tlnlp.data``).
Spark lists the same files: it is given their folder and a pattern of their names, and the two lists are compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from tlnlp.config import ScoreSettings
from tlnlp.data.line_batches import SOURCE
from tlnlp.data.parquet_footers import NULL
from tlnlp.score.contract import kept_name
from tlnlp.score.kept_values import DISAGREES, check_ids, fitted, table_column, text_of
from tlnlp.score.line_source import CORRUPT, DETAIL, FOLDER, read_lines
from tlnlp.score.parquet_source import Part, read_parquet
from tlnlp.score.session import spark_errors
from tlnlp.score.source_files import SourceFiles, find_files, quoted
from tlnlp.warehouse.schema import Column as TableColumn

# What is wrong with the values of a kept column, or of a partition (see ``kept_values``).
CHECK = "_check_"


@dataclass(frozen=True)
class Documents:
    """The documents of a night, not read yet.

    Fields:
        frame: one row a document, with the columns of the module's docstring.
        kept_columns: the kept columns with their types.
        checks: the name of each column that says what is wrong with a value, and the name of the column it is about.
        given: the files.
        rows: how many rows the files have by their footers; None where they have none.
    """

    frame: DataFrame
    kept_columns: tuple[TableColumn, ...]
    checks: dict[str, str]
    given: SourceFiles
    rows: int | None = None


def read_documents(
    spark: SparkSession, settings: ScoreSettings, known: Mapping[str, TableColumn] | None = None
) -> Documents:
    """Return the documents, to be read lazily.

    Args:
        known: the columns of the table by name, if there is a table; kept columns have the types of these.

    Raises:
        InputDataError: there are no files, a column is missing, or the text column does not hold text.
        NothingToPublishError: the files hold no records.
        UsageError: a kept column has a type that the table cannot store.
        StorageError: a store cannot be read.
    """
    known = known or {}
    wanted = list(dict.fromkeys([settings.id_column, settings.text_column, *settings.keep_columns]))
    given = find_files(settings, wanted)
    given.report()
    rows, in_both = None, tuple[str, ...]()
    with spark_errors(settings.documents):
        if given.format == "parquet":
            parts, rows = read_parquet(spark, settings, given, wanted)
            kinds = {name: [part.types.get(name) for part in parts] for name in wanted}
        else:
            new = [name for name in settings.keep_columns if name not in known]
            records = read_lines(spark, settings, given, wanted, new)
            parts, in_both = [Part(records.frame, dict.fromkeys(wanted, "string"))], records.in_both
            kinds = {name: [kind] for name, kind in records.types.items()}
        check_ids(settings.id_column, kinds[settings.id_column], settings.documents)
        kept = tuple(table_column(name, kinds[name], known) for name in settings.keep_columns)
        checks = {f"{CHECK}{number}": column.name for number, column in enumerate(kept)}
        checks |= {f"{CHECK}{FOLDER}{given.partitions.index(name)}": name for name in in_both}
        frames = [_contract_columns(part, settings, given, kept) for part in parts]
        # A column of checks that is null in all parts says nothing.
        checks = {name: about for name, about in checks.items() if any(name in frame.columns for frame in frames)}
        nothing = F.lit(None).cast("int")
        frames = [
            frame.withColumns({name: nothing for name in checks if name not in frame.columns}) for frame in frames
        ]
        frame = reduce(DataFrame.unionByName, frames)
    return Documents(frame, kept, checks, given, rows)


def _contract_columns(
    part: Part, settings: ScoreSettings, given: SourceFiles, kept_columns: tuple[TableColumn, ...]
) -> DataFrame:
    """Return the columns that every reader returns (see the module), and those checks that can find something."""
    is_lines = CORRUPT in part.frame.columns

    def value(name: str) -> Column:
        if is_lines and name in given.partitions:
            return F.col(f"{FOLDER}{given.partitions.index(name)}")
        return quoted(name) if part.types[name] not in (None, NULL) else F.lit(None)

    columns = [
        text_of(value(settings.id_column), part.types[settings.id_column]).alias("document_id"),
        value(settings.text_column).cast("string").alias("text"),
        F.regexp_replace(SOURCE, "^s3a:", "s3:").alias("source"),
        (F.col(CORRUPT) if is_lines else F.lit(None).cast("string")).alias("fault"),
        (F.col(DETAIL) if is_lines else F.lit(None).cast("string")).alias("detail"),
    ]
    checks = []
    for number, column in enumerate(kept_columns):
        result, problem = fitted(value(column.name), part.types[column.name], column)
        columns.append(result.alias(kept_name(number)))
        if problem is not None:
            checks.append(problem.alias(f"{CHECK}{number}"))
    if is_lines:
        for number, name in enumerate(given.partitions):
            if name in part.frame.columns:
                differs = quoted(name) != F.col(f"{FOLDER}{number}")
                checks.append(F.when(differs, DISAGREES).alias(f"{CHECK}{FOLDER}{number}"))
    return part.frame.select(*columns, *checks)
