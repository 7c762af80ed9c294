"""What the footers of Parquet files say of rows, types and bounds, and which types JSON Lines need."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tlnlp.data.json_types import column_type, scan_batches
from tlnlp.data.line_batches import LINE
from tlnlp.data.parquet_footers import Footer, read_footers
from tlnlp.data.tables import source_files
from tlnlp.errors import InputDataError


def footer(folder: Path, table: pa.Table, *wanted: str, bounded: tuple[str, ...] = ()) -> Footer:
    pq.write_table(table, folder / "a.parquet", row_group_size=2)
    (found,) = read_footers(source_files(str(folder / "a.parquet")), wanted, bounded)
    return found


def test_types_of_columns_by_their_names(tmp_path: Path) -> None:
    columns = {
        "string": pa.array(["a"]).dictionary_encode(),
        "binary": pa.array([b"a"]),
        "boolean": pa.array([True]),
        "int": pa.array([1], pa.int16()),
        "bigint": pa.array([1], pa.uint32()),
        "decimal(20,0)": pa.array([1], pa.uint64()),
        "decimal(4,2)": pa.array([Decimal("10.50")]),
        "float": pa.array([0.5], pa.float32()),
        "double": pa.array([0.5]),
        "date": pa.array([date(2026, 1, 31)]),
        "timestamp": pa.array([0], pa.timestamp("us", "Europe/Oslo")),
        "timestamp_ntz": pa.array([0], pa.timestamp("ms")),
        "timestamp in nanoseconds": pa.array([0], pa.timestamp("ns")),
        "null": pa.nulls(1),
        "time": pa.array([0], pa.time64("us")),
        "list<element: int64>": pa.array([[1]]),
        "struct<a.b: int64, c: int64>": pa.array([{"a.b": 1, "c": 2}]),
    }
    found = footer(tmp_path, pa.table(columns), *columns, "a.b", "c", "element")
    assert found.types == (*columns, None, None, None)
    assert (found.rows, found.names) == (1, tuple(columns))


def test_a_name_may_hold_points(tmp_path: Path) -> None:
    assert footer(tmp_path, pa.table({"a.b": [1], "a": [{"b": "x"}]}), "a.b").types == ("bigint",)


def test_the_bounds_of_a_column(tmp_path: Path) -> None:
    days = pa.table({"day": [date(2026, 1, 30), None, None, None, date(2026, 1, 31)], "n": [1, 1, 1, 1, 1]})
    found = footer(tmp_path, days, bounded=("day", "n", "other")).constants
    assert found == {"day": frozenset({"2026-01-30", "2026-01-31"}), "n": frozenset({"1"})}


def test_damaged_files_and_equal_names_are_refused(tmp_path: Path) -> None:
    twins = pa.table([pa.array(["1"]), pa.array(["x"]), pa.array(["y"])], names=["id", "text", "Text"])
    with pytest.raises(InputDataError, match=r"a\.parquet: two columns have the name 'text', or differ"):
        footer(tmp_path, twins, "id", "text")
    assert footer(tmp_path, twins, "id").types == ("string",)
    for content in (b"", b"PAR1", b"PAR1" + bytes(100) + b"PAR1"):
        (tmp_path / "a.parquet").write_bytes(content)
        with pytest.raises(InputDataError, match=r"a\.parquet cannot be read; it may be truncated"):
            read_footers(source_files(str(tmp_path)), ("id",))


def test_types_of_json_values() -> None:
    lines = [
        b'{"whole": 1, "real": 1, "yes": true, "text": "a", "none": null, "mixed": 1, "large": 9007199254740993}',
        b'{"whole": null, "real": 2.5, "yes": false, "text": "b", "mixed": true, "late": 7, "other": 1}',
        b'{"large": 0.5}',
        b"broken",
    ]
    wanted = frozenset({"whole", "real", "yes", "text", "none", "mixed", "large", "late", "absent"})
    (found,) = scan_batches(iter([pa.RecordBatch.from_arrays([pa.array(lines, pa.binary())], [LINE])]), wanted)
    kinds: dict[str, list[str]] = {}
    for row in found.to_pylist():
        kinds.setdefault(row["name"], []).append(row["type"])
    assert {name: column_type(some) for name, some in kinds.items()} == {
        "whole": "bigint",
        "real": "double",
        "yes": "boolean",
        "text": "string",
        "none": "string",
        "mixed": "string",
        "large": "string",
        "late": "bigint",
        "other": "string",
    }
