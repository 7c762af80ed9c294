"""The one schema of the two tables, in terms no engine owns, and its translations for each engine.

A table is a tuple of ``Column``; types are the names in ``KEPT_TYPES`` and ``PROBABILITIES`` (label to probability).
Engines are imported where they are asked for, so that a Spark worker can read the constants alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tlnlp.errors import UsageError

if TYPE_CHECKING:
    import pyarrow as pa
    from pyiceberg.schema import Schema
    from pyiceberg.types import IcebergType

NAMESPACE = "tlnlp"
SCORE_DATE = "score_date"
HISTORY = "history"
PROBABILITIES = "map"
KEPT_TYPES = ("string", "int", "long", "float", "double", "boolean", "date", "timestamp")


@dataclass(frozen=True)
class Column:
    """One column: ``type`` is one of ``KEPT_TYPES`` or ``PROBABILITIES``; a timestamp is UTC, in microseconds."""

    name: str
    type: str
    required: bool = False


SCORES: tuple[Column, ...] = (
    Column("document_id", "string", required=True),
    Column("label", "string", required=True),
    Column("score", "double", required=True),
    Column("probabilities", PROBABILITIES, required=True),
    Column("text_sha256", "string", required=True),
    Column("stage", "string", required=True),
    Column("model", "string", required=True),
    Column("model_version", "long", required=True),
    Column("run_id", "string", required=True),
    Column(SCORE_DATE, "date", required=True),
    Column("scored_at", "timestamp", required=True),
)

QUARANTINE: tuple[Column, ...] = (
    Column("document_id", "string"),
    Column("reason", "string", required=True),
    Column("detail", "string"),
    Column("source", "string"),
    Column("run_id", "string", required=True),
    Column(SCORE_DATE, "date", required=True),
)

_SPARK_TYPES = {
    "string": "string",
    "int": "int",
    "long": "bigint",
    "float": "float",
    "double": "double",
    "boolean": "boolean",
    "date": "date",
    "timestamp": "timestamp",
    PROBABILITIES: "map<string,double>",
}
# What Spark may find in documents, and can cast to a kept type without loss.
_SPARK_ALIASES = {"tinyint": "int", "smallint": "int", "timestamp_ntz": "timestamp"}
_TABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


def check_kept(names: Iterable[str]) -> None:
    """Refuse kept columns that take a name of the table, or come twice (engines ignore case, so this does).

    Raises:
        UsageError: naming every such column.
    """
    reserved = {column.name for column in SCORES}
    seen: set[str] = set()
    taken, twice = [], []
    for name in names:
        folded = name.lower()
        if folded in reserved:
            taken.append(name)
        elif folded in seen:
            twice.append(name)
        elif not name.strip():
            raise UsageError("keep_columns holds an empty name; remove it")
        seen.add(folded)
    if taken:
        raise UsageError(
            f"keep_columns: {', '.join(taken)} would take the name of a column that every scores table has; "
            "rename it in the documents, or leave it out of keep_columns"
        )
    if twice:
        raise UsageError(f"keep_columns names {', '.join(twice)} twice (case does not count); name it once")


def check_table(name: str) -> None:
    """Refuse a name that cannot be both a folder and an SQL name, or is taken by a companion or a view.

    Raises:
        UsageError: saying why.
    """
    if not _TABLE_NAME.fullmatch(name):
        raise UsageError(f"table {name!r}: use letters, digits and _ only, not a digit first, 64 at most")
    if name == HISTORY or name == "quarantine" or name.endswith("_quarantine"):
        raise UsageError(f"table {name!r}: this name is kept for what tlnlp adds itself; choose another")


def quarantine_name(table: str) -> str:
    """The companion of ``table``: ``quarantine`` for ``scores``, else ``<table>_quarantine``."""
    return "quarantine" if table == "scores" else f"{table}_quarantine"


def spark_type(type_name: str) -> str:
    """The Spark DDL name of a type, as in ``CAST(x AS bigint)``."""
    return _SPARK_TYPES[type_name]


def spark_ddl(columns: Sequence[Column]) -> str:
    """The columns as a Spark DDL string; names are quoted."""
    return ", ".join(f"`{column.name.replace('`', '``')}` {spark_type(column.type)}" for column in columns)


def kept_column(name: str, spark_type_name: str) -> Column:
    """The kept column for a column that Spark reads as ``spark_type_name`` (its ``simpleString``).

    The caller casts to ``spark_type(column.type)``: small integers become ``int``, local timestamps ``timestamp``.

    Raises:
        UsageError: a type that a table cannot keep.
    """
    found = {ddl: ours for ours, ddl in _SPARK_TYPES.items() if ours in KEPT_TYPES} | _SPARK_ALIASES
    spelled = spark_type_name.lower()
    if re.fullmatch(r"(var)?char\(\d+\)", spelled):
        return Column(name, "string")
    if spelled not in found:
        raise UsageError(
            f"keep_columns: {name} has type {spark_type_name}, which a table cannot keep; the types are "
            f"{', '.join(KEPT_TYPES)}: cast it in the documents, or leave it out"
        )
    return Column(name, found[spelled])


def arrow_schema(columns: Sequence[Column]) -> pa.Schema:
    """The columns as pyarrow sees them; required columns are not nullable."""
    import pyarrow as pa

    return pa.schema([pa.field(c.name, _arrow_type(c.type), nullable=not c.required) for c in columns])


def arrow_type_name(data_type: pa.DataType) -> str:
    """Our name for a pyarrow type; for one that no column has, pyarrow's own name."""
    import pyarrow as pa
    import pyarrow.types as kinds

    if kinds.is_string(data_type) or kinds.is_large_string(data_type):
        return "string"
    if kinds.is_map(data_type):
        inner = (arrow_type_name(data_type.key_type), arrow_type_name(data_type.item_type))
        return PROBABILITIES if inner == ("string", "double") else str(data_type)
    exact = {_arrow_type(name): name for name in KEPT_TYPES if name != "string"}
    if kinds.is_timestamp(data_type) and data_type.unit == "us" and data_type.tz is not None:
        data_type = pa.timestamp("us", tz="UTC")
    return exact.get(data_type, str(data_type))


def iceberg_schema(columns: Sequence[Column]) -> Schema:
    """The columns as an Iceberg schema; field ids are in column order, those inside maps after all of them."""
    from pyiceberg.schema import Schema
    from pyiceberg.types import DoubleType, MapType, NestedField, StringType

    fields, inner_id = [], len(columns)
    for number, column in enumerate(columns, start=1):
        kind: IcebergType
        if column.type == PROBABILITIES:
            kind = MapType(inner_id + 1, StringType(), inner_id + 2, DoubleType(), value_required=True)
            inner_id += 2
        else:
            kind = iceberg_type(column.type)
        fields.append(NestedField(number, column.name, kind, required=column.required))
    return Schema(*fields)


def iceberg_type(type_name: str) -> IcebergType:
    """The Iceberg type of one of ``KEPT_TYPES``."""
    from pyiceberg import types

    kinds: dict[str, IcebergType] = {
        "string": types.StringType(),
        "int": types.IntegerType(),
        "long": types.LongType(),
        "float": types.FloatType(),
        "double": types.DoubleType(),
        "boolean": types.BooleanType(),
        "date": types.DateType(),
        "timestamp": types.TimestamptzType(),
    }
    return kinds[type_name]


def columns_of(schema: Schema) -> tuple[Column, ...]:
    """The columns of an Iceberg schema; a type that is none of ours keeps Iceberg's name."""
    from pyiceberg.types import DoubleType, MapType, StringType

    names: dict[Any, str] = {iceberg_type(name): name for name in KEPT_TYPES}
    columns = []
    for field in schema.fields:
        kind = field.field_type
        if isinstance(kind, MapType) and (kind.key_type, kind.value_type) == (StringType(), DoubleType()):
            columns.append(Column(field.name, PROBABILITIES, field.required))
        else:
            columns.append(Column(field.name, names.get(kind, str(kind)), field.required))
    return tuple(columns)


def _arrow_type(type_name: str) -> pa.DataType:
    import pyarrow as pa

    kinds: dict[str, pa.DataType] = {
        "string": pa.string(),
        "int": pa.int32(),
        "long": pa.int64(),
        "float": pa.float32(),
        "double": pa.float64(),
        "boolean": pa.bool_(),
        "date": pa.date32(),
        "timestamp": pa.timestamp("us", tz="UTC"),
        PROBABILITIES: pa.map_(pa.string(), pa.float64()),
    }
    return kinds[type_name]
