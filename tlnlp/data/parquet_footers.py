"""Read what the footers of Parquet files say: rows, the types of some columns, and the range of their values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from tlnlp.data.tables import SourceFile, unreadable
from tlnlp.data.values import value_text
from tlnlp.errors import InputDataError

READERS = 32
# The type of a column that holds nulls alone and has no other type.
NULL = "null"
_INTEGERS = {"INT_8": "int", "INT_16": "int", "UINT_8": "int", "UINT_16": "int", "UINT_32": "bigint"}
_PLAIN = {
    "BOOLEAN": "boolean",
    "INT32": "int",
    "INT64": "bigint",
    "INT96": "timestamp",
    "FLOAT": "float",
    "DOUBLE": "double",
    "BYTE_ARRAY": "binary",
    "FIXED_LEN_BYTE_ARRAY": "binary",
}


@dataclass(frozen=True)
class Footer:
    """What the footer of one file says.

    Fields:
        rows: number of rows.
        names: the names of all columns.
        types: the type of each wanted column, as SQL engines name it (``bigint``, ``decimal(10,2)``); ``null`` for a
            column without a type; None where the file lacks the column; Arrow's name of a nested or another type.
        constants: for each column that was asked for, the texts of the values that bound it, by row group: one text
            where all values are equal. None: the file does not say.
    """

    source: SourceFile
    rows: int
    names: tuple[str, ...]
    types: tuple[str | None, ...]
    constants: dict[str, frozenset[str] | None]


def read_footers(files: Sequence[SourceFile], wanted: Sequence[str], bounded: Sequence[str] = ()) -> list[Footer]:
    """Read the footers of files, several at once, in the order of the files.

    Args:
        wanted: names of the columns whose types are returned.
        bounded: names of the columns whose bounds are returned.

    Raises:
        InputDataError: a file is not Parquet or is truncated, or has two columns of one name.
        StorageError: the store cannot be read.
    """
    known: dict[tuple[str, ...], tuple[str, ...]] = {}  # Thousands of files share one list of names.

    def read(source: SourceFile) -> Footer:
        return _footer(source, wanted, bounded, known.setdefault)

    with ThreadPoolExecutor(READERS) as pool:
        return list(pool.map(read, files))


def _footer(
    source: SourceFile, wanted: Sequence[str], bounded: Sequence[str], shared: Callable[[Any, Any], tuple[str, ...]]
) -> Footer:
    try:
        with source.opened() as stream:
            metadata = pyarrow.parquet.read_metadata(stream)
            columns = metadata.schema.to_arrow_schema()
            names = tuple(columns.names)
            _check_names(source, names, wanted)
            leaves = metadata.schema.names
            types = tuple(_type_of(name, columns, metadata, _place(name, leaves, metadata)) for name in wanted)
            constants = {name: _bounds(metadata, _place(name, leaves, metadata)) for name in bounded if name in names}
    except (pa.ArrowException, OSError, EOFError) as error:
        raise InputDataError(unreadable(source.uri)) from error
    return Footer(source, metadata.num_rows, shared(names, names), types, constants)


def _check_names(source: SourceFile, names: Sequence[str], wanted: Sequence[str]) -> None:
    folded = [name.lower() for name in names]
    for name in wanted:
        if folded.count(name.lower()) > 1:
            raise InputDataError(
                f"{source.uri}: two columns have the name {name!r}, or differ from it in upper and lower case only; "
                "rename one"
            )


def _place(name: str, leaves: Sequence[str], metadata: Any) -> int | None:
    """Return the place of a column among the leaves; None for a nested one, or where there is none."""
    for place in [place for place, leaf in enumerate(leaves) if leaf == name]:
        leaf = metadata.schema.column(place)
        if leaf.path == name and not leaf.max_repetition_level:
            return place
    return None


def _type_of(name: str, columns: pa.Schema, metadata: Any, place: int | None) -> str | None:
    if place is None:
        return str(columns.field(name).type) if name in columns.names else None
    leaf = metadata.schema.column(place)
    kind, logical = leaf.physical_type, leaf.logical_type.type
    if logical in ("STRING", "ENUM", "JSON"):
        return "string"
    if logical == "DECIMAL":
        return f"decimal({leaf.precision},{leaf.scale})"
    if logical == "DATE":
        return "date"
    if logical == "TIMESTAMP":
        return _timestamp(leaf.logical_type.to_json())
    if logical == "INT":
        return "decimal(20,0)" if leaf.converted_type == "UINT_64" else _INTEGERS.get(leaf.converted_type, _PLAIN[kind])
    if logical == "UNKNOWN":
        return NULL
    return _PLAIN[kind] if logical in ("NONE", "BSON") else str(logical).lower()


def _timestamp(described: str) -> str:
    if "nanoseconds" in described:
        return "timestamp in nanoseconds"
    return "timestamp" if '"isAdjustedToUTC":true' in described else "timestamp_ntz"


def _bounds(metadata: Any, place: int | None) -> frozenset[str] | None:
    found: set[str] = set()
    for group in range(metadata.num_row_groups if place is not None else 0):
        statistics = metadata.row_group(group).column(place).statistics
        if statistics is not None and not statistics.has_min_max and statistics.num_values == 0:
            continue  # All values are null.
        if statistics is None or not statistics.has_min_max:
            return None
        try:
            found |= {text for text in map(value_text, (statistics.min, statistics.max)) if text is not None}
        except (ValueError, OverflowError):
            return None
    return frozenset(found) if place is not None else None
