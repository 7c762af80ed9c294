"""Define the columns of the tables independently of any engine, and translate them for each engine.

A table is a tuple of ``Column``. Type names are those in ``KEPT_TYPES``, and ``PROBABILITIES`` (a map from label to
probability). Functions import their engine themselves, so that a Spark worker can use the constants without it.
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
LATEST = "latest"
PROBABILITIES = "map"
KEPT_TYPES = ("string", "int", "long", "float", "double", "boolean", "date", "timestamp")


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: name of the column.
        type: one of ``KEPT_TYPES``, or ``PROBABILITIES``; a timestamp is in UTC with microseconds.
        required: True if the column never holds a null.
    """

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
    # Tables that an earlier tlnlp made lack it; it is added to them, and is null in their rows.
    Column("scored_by", "string"),
    Column("model", "string", required=True),
    Column("model_version", "long", required=True),
    Column("run_id", "string", required=True),
    Column(SCORE_DATE, "date", required=True),
    Column("scored_at", "timestamp", required=True),
)

# A table of scores has it, after the kept columns, once a night has been asked for it.
EVIDENCE = Column("evidence", "string")

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
# Other Spark types in documents that can be cast to one of KEPT_TYPES without loss.
_SPARK_ALIASES = {"tinyint": "int", "smallint": "int", "timestamp_ntz": "timestamp"}
_RESERVED_ENDS = ("_quarantine", "_state", "_latest")
_TABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


def check_kept(names: Iterable[str]) -> None:
    """Check that no kept column has the name of a table column or occurs twice; case is ignored, as in SQL engines.

    Raises:
        UsageError: a name is not allowed; the message lists all of these.
    """
    reserved = {column.name for column in (*SCORES, EVIDENCE)}
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
            f"keep_columns: {', '.join(taken)} would take the name of a column that a scores table has or may have; "
            "rename it in the documents, or leave it out of keep_columns"
        )
    if twice:
        raise UsageError(
            f"keep_columns names {', '.join(twice)} twice (upper and lower case count as the same); name it once"
        )


def check_table(name: str) -> None:
    """Check that a table name is valid as a folder and in SQL, and is not reserved for quarantine or ``history``.

    Raises:
        UsageError: the name is not allowed.
    """
    if not _TABLE_NAME.fullmatch(name):
        raise UsageError(
            f"table {name!r}: not a valid name; use at most 64 letters, digits and _, and no digit at the start"
        )
    if name in (HISTORY, LATEST, "quarantine") or name.endswith(_RESERVED_ENDS):
        raise UsageError(f"table {name!r}: the name is reserved for tables and views that tlnlp adds; choose another")


def quarantine_name(table: str) -> str:
    """Return the name of the table's quarantine: ``quarantine`` for ``scores``, else ``<table>_quarantine``."""
    return "quarantine" if table == "scores" else f"{table}_quarantine"


def state_name(table: str) -> str:
    """Return the name of the table that holds the state of a table of scores (see ``state_table``)."""
    return f"{table}_state"


def latest_name(table: str) -> str:
    """Return the name of the view of each document's newest row: ``latest`` for ``scores``, else ``<table>_latest``."""
    return LATEST if table == "scores" else f"{table}_{LATEST}"


def scores_name(table: str) -> str | None:
    """Return the name of the table whose quarantine ``table`` is; None if it is no quarantine."""
    if table == "quarantine":
        return "scores"
    return table.removesuffix("_quarantine") if table.endswith("_quarantine") else None


def spark_type(type_name: str) -> str:
    """Return the Spark DDL name of a type, as in ``CAST(x AS bigint)``."""
    return _SPARK_TYPES[type_name]


def spark_ddl(columns: Sequence[Column]) -> str:
    """Return the columns as a Spark DDL string, with quoted names."""
    return ", ".join(f"`{column.name.replace('`', '``')}` {spark_type(column.type)}" for column in columns)


def kept_column(name: str, spark_type_name: str) -> Column:
    """Return the kept column for a document column of the given Spark type (``simpleString``).

    The caller casts to ``spark_type(column.type)``: small integers become ``int``, local timestamps ``timestamp``.

    Raises:
        UsageError: a table cannot hold the type.
    """
    found = {ddl: ours for ours, ddl in _SPARK_TYPES.items() if ours in KEPT_TYPES} | _SPARK_ALIASES
    spelled = spark_type_name.lower()
    if re.fullmatch(r"(var)?char\(\d+\)", spelled):
        return Column(name, "string")
    if spelled not in found:
        raise UsageError(
            f"keep_columns: {name} has type {spark_type_name}, which a table cannot hold; cast it in the documents to "
            f"{', '.join(KEPT_TYPES[:-1])} or {KEPT_TYPES[-1]}, or leave it out of keep_columns"
        )
    return Column(name, found[spelled])


def arrow_schema(columns: Sequence[Column]) -> pa.Schema:
    """Return the columns as a pyarrow schema; required columns are not nullable."""
    import pyarrow as pa

    return pa.schema([pa.field(c.name, _arrow_type(c.type), nullable=not c.required) for c in columns])


def arrow_type_name(data_type: pa.DataType) -> str:
    """Return our name of a pyarrow type, or pyarrow's own name if no column can have the type."""
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
    """Return the columns as an Iceberg schema; field ids follow the column order, then come those inside maps."""
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
    """Return the Iceberg type of one of ``KEPT_TYPES``."""
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
    """Return the columns of an Iceberg schema; a type that is none of ours has Iceberg's name."""
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
