"""Read a snapshot of a table as a ``pyarrow.dataset`` with bounded memory.

Arrow's own scanner reads up to a gibibyte ahead of a slow consumer, so a long result would fill the memory. The
dataset here reads at most one row group ahead of its consumer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.dataset as ds
from pyiceberg.table import Table

from tlnlp.errors import EngineError
from tlnlp.warehouse.schema import KEPT_TYPES, PROBABILITIES, SCORE_DATE, arrow_schema, columns_of
from tlnlp.warehouse.staged import locate, partition_day

if TYPE_CHECKING:
    from pyiceberg.schema import Schema

_BATCH_ROWS = 10_000


class RowGroups(ds.FileSystemDataset):  # type: ignore[misc]  # pyarrow has no types
    """A Parquet dataset that is read row group by row group.

    ``conditions`` holds, by the path of a file, what its rows must meet to belong to the dataset; a file that is not in
    it belongs to the dataset as a whole.
    """

    conditions: Mapping[str, ds.Expression]

    def scanner(self, columns: Sequence[str] | None = None, filter: Any = None, **_: Any) -> RowGroupScan:
        """Return a scan of ``columns`` (None: all) and of the rows that pass ``filter``; DuckDB calls this."""
        return RowGroupScan(self, list(self.schema.names if columns is None else columns), filter)


@dataclass(frozen=True)
class RowGroupScan:
    """A scan of ``columns`` for the rows that pass ``filter`` (a pyarrow expression; None: all rows)."""

    dataset: RowGroups
    columns: list[str]
    filter: Any

    def to_reader(self) -> pa.RecordBatchReader:
        """Return the rows as a stream of record batches; DuckDB calls this."""
        schema = pa.schema([self.dataset.schema.field(name) for name in self.columns])
        return pa.RecordBatchReader.from_batches(schema, self._batches())

    def _batches(self) -> Iterator[pa.RecordBatch]:
        with ThreadPoolExecutor(1) as pool:
            ahead: Future[pa.Table] | None = None
            for row_group in self._row_groups():
                reading = pool.submit(self._read, row_group)
                if ahead is not None:
                    yield from ahead.result().to_batches(_BATCH_ROWS)
                ahead = reading
            if ahead is not None:
                yield from ahead.result().to_batches(_BATCH_ROWS)

    def _row_groups(self) -> Iterator[ds.ParquetFileFragment]:
        """Yield the row groups that may hold a row, judged by their day and by the statistics in the footer."""
        for fragment in self.dataset.get_fragments(self.filter):
            yield from fragment.split_by_row_group(self._filter_of(fragment), self.dataset.schema)

    def _read(self, row_group: ds.ParquetFileFragment) -> pa.Table:
        wanted = self._filter_of(row_group)
        return row_group.to_table(schema=self.dataset.schema, columns=self.columns, filter=wanted)

    def _filter_of(self, fragment: ds.ParquetFileFragment) -> Any:
        condition = self.dataset.conditions.get(fragment.path)
        if condition is None or self.filter is None:
            return self.filter if condition is None else condition
        return self.filter & condition


def table_dataset(
    table: Table, snapshot_id: int | None = None, rows_of: Callable[[date | None], ds.Expression] | None = None
) -> ds.Dataset:
    """Return the rows of a snapshot (None: the current one) as a dataset; a column that a file lacks is null.

    Args:
        table: the table.
        snapshot_id: the snapshot.
        rows_of: returns the condition that rows of a day (None: of any day) must meet; None takes all rows.

    Raises:
        EngineError: the table holds row-level deletes of another engine, which this reader does not apply.
    """
    scan = table.scan(snapshot_id=snapshot_id)
    schema = _arrow_schema(scan.projection())
    spec = table.spec()
    by_day = len(spec.fields) == 1 and spec.fields[0].name == SCORE_DATE
    file_format, fragments, filesystem, conditions = ds.ParquetFileFormat(), [], None, {}
    for task in scan.plan_files():
        if task.delete_files:
            raise EngineError(
                f"table {table.name()[-1]} holds row-level deletes made by another engine, which this reader does not "
                "apply; read the table with that engine, or publish those days again"
            )
        filesystem, path = locate(table.io, task.file.file_path)
        known = by_day and task.file.spec_id == spec.spec_id
        day = partition_day(task.file) if known else None
        if rows_of is not None:
            conditions[path] = rows_of(day)
        is_day = ds.scalar(True) if day is None else ds.field(SCORE_DATE) == pa.scalar(day, pa.date32())
        fragments.append(file_format.make_fragment(path, filesystem, partition_expression=is_day))
    if filesystem is None:
        return ds.dataset(schema.empty_table())
    dataset = RowGroups(fragments, schema, file_format, filesystem)
    dataset.conditions = conditions
    return dataset


def _arrow_schema(schema: Schema) -> pa.Schema:
    columns = [column for column in columns_of(schema) if column.type in (*KEPT_TYPES, PROBABILITIES)]
    # Spark writes every column as nullable, and a consumer gains nothing from a stricter schema.
    return pa.schema([field.with_nullable(True) for field in arrow_schema(columns)])
