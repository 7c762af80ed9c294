"""Copy the rows of a night into a file of DuckDB on this machine, where a query takes a fraction of a second.

The copy holds what lists of documents show and are selected by. It leaves out the probabilities, and the end of long
kept values. Its rows stand in the order of the table. It belongs to the process that makes it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds

from tlnlp.errors import StorageError
from tlnlp.warehouse.dataset import table_dataset
from tlnlp.warehouse.nights import Night, ScoresTable
from tlnlp.warehouse.query import QueryStream
from tlnlp.warehouse.query_engine import connected, explained, identifier, run_statement
from tlnlp.warehouse.query_values import json_value, rows_of
from tlnlp.warehouse.query_worker import Hold, Limits, QueryWorker
from tlnlp.warehouse.schema import SCORE_DATE

ROWS = "night"
"""The name of the table in a copy."""
VALUE_CHARS = 500
"""So many characters of a kept text are copied."""

_OWN = ("document_id", "score", "label", "stage", "model_version")


def write_copy(table: ScoresTable, night: Night, file: Path, limits: Limits) -> None:
    """Write the copy of a night. The file appears when it is complete.

    Raises:
        UsageError: a limit was exceeded.
        StorageError: the table cannot be read, or the file cannot be written.
    """
    partial = file.with_suffix(".part")
    texts = {column.name for column in table.kept if column.type == "string"}
    kept = [
        f"left({name}, {VALUE_CHARS}) AS {name}" if column.name in texts else name
        for column in table.kept
        for name in [identifier(column.name)]
    ]
    sql = f"""
        CREATE TABLE {ROWS} AS SELECT {", ".join([*_OWN, *kept])} FROM {identifier(table.name)}
        WHERE {SCORE_DATE} = DATE '{night.day.isoformat()}'"""

    def answer(hold: Hold, spill: str) -> Generator[Any, None, None]:
        with connected(spill, limits, hold, str(partial)) as connection, explained([table.name], limits):
            connection.register(table.name, table_dataset(table.tables[table.name]))
            connection.execute(sql)
            yield None

    partial.unlink(missing_ok=True)
    with _worker(answer, limits) as worker:
        list(worker)
    partial.replace(file)


@contextmanager
def open_copy(file: Path, sql: str, parameters: Sequence[object], limits: Limits) -> Iterator[QueryStream]:
    """Run one read-only query of the table ``night`` in a copy; yield its rows as a stream, as ``open_query`` does.

    Raises:
        UsageError: the SQL is wrong, or a limit was exceeded.
        StorageError: the copy cannot be read.
    """

    if not file.exists():
        raise StorageError(f"{file}: the copy of the night is gone; load the page again, which makes another one")

    def answer(hold: Hold, spill: str) -> Generator[Any, None, None]:
        with connected(spill, limits, hold) as connection, explained([ROWS], limits):
            path = str(file).replace("'", "''")
            connection.execute(f"ATTACH '{path}' AS copied (READ_ONLY)")
            connection.execute("USE copied")
            reader = run_statement(connection, sql, parameters)
            yield reader.schema.names
            yield from reader

    with _worker(answer, limits) as worker:
        items = iter(worker)
        yield QueryStream(tuple(next(items)), items)


def read_row(table: ScoresTable, night: Night, place: int) -> dict[str, Any]:
    """Return a row of a night with all its columns, by its place: the ``rowid`` of its copy. Reads one row group.

    Returns:
        The values by column, as a query has them; empty if the night has no such row.

    Raises:
        StorageError: the table cannot be read.
    """
    dataset = table_dataset(table.tables[table.name])
    with explained([table.name], Limits()):
        for fragment in dataset.get_fragments(ds.field(SCORE_DATE) == pa.scalar(night.day, pa.date32())):
            for group in fragment.split_by_row_group(schema=dataset.schema):
                rows = group.row_groups[0].num_rows
                if place < rows:
                    found = group.to_table(schema=dataset.schema).slice(place, 1).combine_chunks().to_batches()
                    values = map(json_value, next(rows_of(found[0])))
                    return dict(zip(dataset.schema.names, values, strict=True))
                place -= rows
    return {}


@contextmanager
def _worker(answer: Any, limits: Limits) -> Iterator[QueryWorker]:
    with (
        tempfile.TemporaryDirectory(prefix="tlnlp-query-", ignore_cleanup_errors=True) as spill,
        QueryWorker(lambda hold: answer(hold, spill), limits) as worker,
    ):
        yield worker
