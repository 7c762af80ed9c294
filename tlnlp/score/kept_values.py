"""Give values of documents the types of the table, and find those that the table cannot hold.

A kept column has the type that the table has. Of a column that is new, the type is the widest that its values need. A
value that does not fit becomes null and is counted, and its document is scored all the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import StringType

from tlnlp.data.parquet_footers import NULL
from tlnlp.data.values import value_text
from tlnlp.errors import InputDataError, counted
from tlnlp.runs.progress import say
from tlnlp.warehouse.schema import KEPT_TYPES, kept_column, spark_type
from tlnlp.warehouse.schema import Column as TableColumn

# What is wrong with a value: it does not fit the type; it is a time that no engine reads; folder and file disagree.
UNFIT, NO_TIME, DISAGREES = 1, 2, 3
_INTEGERS, _FLOATS, _TIMES = ("int", "bigint"), ("float", "double"), ("date", "timestamp", "timestamp_ntz")
_READABLE = {"boolean", "string", *_INTEGERS, *_FLOATS, *_TIMES}
# Pairs of a type and a wider one that holds all of its values.
_WIDER = {("int", "bigint"), ("int", "double"), ("float", "double")}


def is_readable(kind: str) -> bool:
    """Return whether values of this type can become text or another type."""
    return kind in _READABLE or kind.startswith("decimal(")


def table_column(name: str, found: Iterable[str | None], known: Mapping[str, TableColumn]) -> TableColumn:
    """Return the kept column as the table has it, or as its values need it where the column is new.

    Args:
        found: the types of the column in the files (see ``Footer.types``).
        known: the columns of the table by name.

    Raises:
        UsageError: a table cannot hold the type.
    """
    kinds = {kind for kind in found if kind is not None and kind != NULL}
    for kind in sorted(kinds):
        if not is_readable(kind):
            return kept_column(name, kind)  # It raises the error.
    # Another engine may have changed the type of a column. Publishing refuses such a table.
    is_ours = name in known and known[name].type in KEPT_TYPES
    return known[name] if is_ours else kept_column(name, widest(kinds))


def widest(kinds: Iterable[str]) -> str:
    """Return the narrowest type that holds the values of all these types; text holds any value."""
    kinds = set(kinds)
    if len(kinds) == 1:
        return kinds.pop()
    if kinds and kinds <= {*_INTEGERS, *_FLOATS}:
        return "double" if kinds & {*_FLOATS} else "bigint"
    return "timestamp" if kinds and kinds <= {*_TIMES} else "string"


def text_of(value: Column, kind: str | None) -> Column:
    """Return values of a type as text, by the rule of ``tlnlp.data.values``."""
    if kind is None or kind == NULL:
        return F.lit(None).cast("string")
    if kind in _FLOATS or kind.startswith("decimal("):
        texts: Column = _number_texts()(value)
        return texts
    return value.cast("string")


def fitted(value: Column, kind: str | None, column: TableColumn) -> tuple[Column, Column | None]:
    """Return values of a type as the column of the table holds them, and what is wrong with each (see ``UNFIT``).

    Returns:
        The second column is null where nothing is wrong. None: nothing can be wrong with such values.
    """
    target = spark_type(column.type)
    if kind is None or kind == NULL:
        return F.lit(None).cast(target), None
    if column.type == "string":
        # Readers of the table expect UTF-8, and fail on any other bytes.
        return F.make_valid_utf8(text_of(value, kind)), None
    if kind == target or (kind, target) in _WIDER:
        result, fits = value.cast(target), F.lit(True)
    elif {kind, target} <= {*_TIMES}:
        result = value.cast(target)
        fits = result.cast("timestamp") == value.cast("timestamp")
    elif _is_number(kind) and _is_number(target):
        result, fits = _as_number(value, kind, target)
        value = F.when(~F.isnan(value), value) if kind in _FLOATS else value
    else:
        text = text_of(value, kind)
        result, fits = text.try_cast(target), F.lit(True)
        value = F.when(F.trim(text) != "", value)
    problem = F.when(value.isNotNull() & ~F.coalesce(fits & result.isNotNull(), F.lit(False)), UNFIT)
    result = F.when(fits, result)
    if column.type in _TIMES:
        problem = F.when(~F.year(result).between(1, 9999), NO_TIME).otherwise(problem)
    elif kind == target or (kind, target) in _WIDER:
        return result, None
    return result, problem


def _is_number(kind: str) -> bool:
    return kind in _INTEGERS or kind in _FLOATS or kind.startswith("decimal(")


def _as_number(value: Column, kind: str, target: str) -> tuple[Column, Column]:
    """Return the number, and whether it is the same: a float has fewer digits, but a number with a fraction is none."""
    result = value.try_cast(target)
    if target in _INTEGERS or kind in _INTEGERS:
        return result, result.try_cast(kind) == value
    too_large = F.abs(result) == float("inf")
    return result, ~too_large | (F.abs(value.cast("double")) == float("inf"))


def _number_texts() -> Any:
    # This import needs a JVM. Workers import the module and have none.
    from pyspark.sql.pandas.functions import pandas_udf

    def texts(values: pd.Series) -> pd.Series:
        return pd.Series([value_text(value) for value in values.tolist()], dtype=object)

    return pandas_udf(texts, StringType())  # type: ignore[call-overload]


def check_values(rows: DataFrame, checks: Mapping[str, str], types: Mapping[str, str]) -> dict[str, int]:
    """Return how many values of each kept column became null, for the columns where any did; say so.

    Args:
        rows: the prepared rows.
        checks: the name in the table, by the name of the column of ``rows`` that says what is wrong (see ``fitted``).
        types: the type in the table, by the name in it.

    Raises:
        InputDataError: a column holds times that no engine reads, or folder and file disagree.
    """
    if not checks:
        return {}
    sums = [
        F.count(F.when(F.col(check) == problem, True)) for check in checks for problem in (UNFIT, NO_TIME, DISAGREES)
    ]
    counts = iter(rows.agg(*sums).collect()[0])
    nulled: dict[str, int] = {}
    for column in checks.values():
        unfit, no_time, disagrees = (int(next(counts)) for _ in range(3))
        if no_time:
            raise InputDataError(
                f"keep_columns: {column} holds {counted(no_time, 'time')} before the year 1 or after 9999, which "
                "readers of the table cannot read; nothing was scored; correct them in the documents, or leave "
                f"{column} out of keep_columns"
            )
        if disagrees:
            raise disagreement(column, counted(disagrees, "document"))
        if unfit:
            nulled[column] = unfit
    for column, count in nulled.items():
        say(
            f"keep_columns: {counted(count, 'value')} of {column} did not fit {types[column]}, the type that the table "
            "has for it, and became null; to keep them, write the documents to a new table, or under another name of "
            "the column"
        )
    return nulled


def disagreement(column: str, where: str) -> InputDataError:
    """Return the error of a column whose value in the names of folders is another one than in the files."""
    return InputDataError(
        f"column {column!r} is in the names of folders ({column}=...) and in the files, with another value in {where}; "
        "remove or rename the column in the files"
    )


def check_ids(name: str, kinds: Iterable[str | None], documents: str) -> None:
    """Check that the ids have a type that can become text.

    Raises:
        InputDataError: they have not.
    """
    for kind in kinds:
        if kind is not None and kind not in (NULL, "binary") and not is_readable(kind):
            raise InputDataError(
                f"{documents}: column {name!r} has type {kind}, which cannot be an id; name the column of ids with "
                "--set id_column="
            )
