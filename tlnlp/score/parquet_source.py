"""Read documents from Parquet files, whose columns may differ.

The footers of all files are read first. Files whose wanted columns have the same types are read together, so it does
not matter which file comes first: a number and a text become one type, and a column that a file lacks is null there.
Columns that no one asked for are not looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from tlnlp.config import ScoreSettings
from tlnlp.data.line_batches import SOURCE
from tlnlp.data.parquet_footers import NULL, Footer, read_footers
from tlnlp.errors import InputDataError
from tlnlp.score.kept_values import disagreement, is_readable
from tlnlp.score.source_files import SourceFiles, check_files, quoted_name


@dataclass(frozen=True)
class Part:
    """Documents that are read together: their frame, and the type of each wanted column (see ``Footer.types``)."""

    frame: DataFrame
    types: dict[str, str | None]


def read_parquet(
    spark: SparkSession, settings: ScoreSettings, given: SourceFiles, wanted: Sequence[str]
) -> tuple[list[Part], int]:
    """Return the documents in parts, and how many rows the files have by their footers.

    Raises:
        InputDataError: a file cannot be read, lacks the column of ids or of texts, or holds something else than text
            there; or a column is in the names of folders and in the files, with different values.
        StorageError: the store cannot be read.
    """
    columns = [name for name in wanted if name not in given.partitions]
    footers = read_footers(given.files, columns, given.partitions)
    for footer in footers:
        _check_partitions(footer, given)
    filled = [footer for footer in footers if footer.rows]
    _check_columns(settings, columns, filled or footers)
    groups: dict[tuple[str | None, ...], list[Footer]] = {}
    for footer in filled:
        groups.setdefault(footer.types, []).append(footer)
    if len(groups) < 2:  # Files without rows may have other columns, which do not matter.
        groups = {next(iter(groups), footers[0].types): footers}
    parts = [_part(spark, given, dict(zip(columns, types, strict=True)), members) for types, members in groups.items()]
    check_files([part.frame for part in parts], [one.source for some in groups.values() for one in some], given.uri)
    partitions: dict[str, str | None] = dict.fromkeys(given.partitions, "string")
    return [Part(_with_source(part.frame), part.types | partitions) for part in parts], sum(one.rows for one in footers)


def _part(spark: SparkSession, given: SourceFiles, types: dict[str, str | None], members: Sequence[Footer]) -> Part:
    options, paths = given.options_of([footer.source for footer in members])
    # What has a type that becomes no text is refused later, by the name of its column.
    held = {name: kind for name, kind in types.items() if kind is not None and (kind == "binary" or is_readable(kind))}
    ddl = [f"{quoted_name(name)} {kind}" for name, kind in (held | dict.fromkeys(given.partitions, "string")).items()]
    return Part(spark.read.options(**options).schema(", ".join(ddl)).parquet(*paths), types)


def _with_source(frame: DataFrame) -> DataFrame:
    return frame.withColumn(SOURCE, F.col("_metadata.file_path"))


def _check_columns(settings: ScoreSettings, columns: Sequence[str], footers: Sequence[Footer]) -> None:
    for place, name in enumerate(columns):
        lacking = [footer for footer in footers if footer.types[place] is None]
        if lacking and (len(lacking) == len(footers) or name in (settings.id_column, settings.text_column)):
            raise InputDataError(
                f"{lacking[0].source.uri}: the file has no column {name!r} (it has: {', '.join(lacking[0].names)}); "
                "name your columns with --set id_column=, text_column= and keep_columns="
            )
        if name == settings.text_column:
            for footer in footers:
                kind = footer.types[place]
                if kind not in ("string", "binary") and not (kind == NULL and len(footers) > 1):
                    raise InputDataError(
                        f"{footer.source.uri}: column {name!r} holds {kind}, not text; name the text column with "
                        "--set text_column="
                    )


def _check_partitions(footer: Footer, given: SourceFiles) -> None:
    """Check that a column in the names of folders, and in the file too, has one value in both.

    Raises:
        InputDataError: it has not, or the file does not say which values it holds.
    """
    for name, values in footer.constants.items():
        folder = given.folder_value(footer.source, name)
        if values is None or any(not _is_same(value, folder) for value in values):
            raise disagreement(name, footer.source.uri)


def _is_same(value: str, folder: str | None) -> bool:
    if value == folder:
        return True
    try:
        return folder is not None and float(value) == float(folder)
    except ValueError:
        return False
