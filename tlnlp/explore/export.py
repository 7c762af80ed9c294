"""Send the documents of a selection as a file, row by row, with every column of the table and every value unchanged."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import chain

import pyarrow as pa
import pyarrow.parquet as pq
from starlette.responses import Response, StreamingResponse

from tlnlp.explore.explorer import Explorer
from tlnlp.explore.params import Params
from tlnlp.explore.selection import Selection, read_selection, selected
from tlnlp.warehouse.night_copy import ROWS
from tlnlp.warehouse.nights import Night, ScoresTable
from tlnlp.warehouse.query_values import csv_line, rows_of

_GROUP_ROWS = 100_000  # Rows in a row group of a Parquet file.

Batches = Iterator[pa.RecordBatch]


def export(explorer: Explorer, params: Params, kind: str) -> Response:
    """Return the answer that sends a selection; of a larger one, its first ``export_rows`` documents.

    The first rows are computed before the answer begins, so that an error still has a page of its own.

    Args:
        explorer: what all pages share.
        params: ``date``, and the parameters of ``read_selection``.
        kind: ``csv`` or ``parquet``.

    Raises:
        UsageError, NotFoundError, StorageError: as for the page of documents.
    """
    table = explorer.table()
    night = explorer.night(table, params.day("date"))
    selection = _capped(explorer, table, night, read_selection(params, table))
    sql = f"SELECT * FROM {explorer.night_rows(table, night)} WHERE {selection.where}"
    stack = ExitStack()
    try:
        stream = stack.enter_context(explorer.stream(table, sql, *selection.parameters))
        first = next(stream.batches, None)
    except BaseException:
        stack.close()
        raise
    batches = chain([] if first is None else [first], stream.batches)
    send, media = _KINDS[kind]
    schema = table.arrow_schema
    name = f"{table.name}-{night.day}.{kind}"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(_closing(stack, send(schema, batches)), media_type=media, headers=headers)


def _capped(explorer: Explorer, table: ScoresTable, night: Night, selection: Selection) -> Selection:
    """Return the selection without the documents after the first ``export_rows`` in its sort order."""
    most = explorer.settings.export_rows
    if selected(explorer, table, night, selection) <= most:
        return selection
    sql = f"SELECT score, document_id FROM {ROWS} WHERE {selection.where} {selection.order} LIMIT 1 OFFSET ?"
    ((score, document_id),) = explorer.copy_rows(table, night, sql, *selection.parameters, most - 1)
    return selection.until(float(score), document_id)


def _csv(schema: pa.Schema, batches: Batches) -> Iterator[bytes]:
    yield csv_line(schema.names).encode()
    for batch in batches:
        yield "".join(map(csv_line, rows_of(batch))).encode("utf-8", "replace")


def _parquet(schema: pa.Schema, batches: Batches) -> Iterator[bytes]:
    sink = _Sink()
    held: list[pa.RecordBatch] = []
    with pq.ParquetWriter(pa.PythonFile(sink, "w"), schema) as writer:
        for batch in batches:
            held.append(batch.cast(schema))
            if sum(map(len, held)) >= _GROUP_ROWS:
                writer.write_table(pa.Table.from_batches(held, schema))
                held.clear()
                yield sink.taken()
        writer.write_table(pa.Table.from_batches(held, schema))
        yield sink.taken()
    yield sink.taken()


class _Sink(io.RawIOBase):
    """A file that is written to once, from its start to its end, and whose bytes are taken while it is written."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[bytes] = []
        self._written = 0

    def writable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return how many bytes were written."""
        return self._written

    def write(self, data: object) -> int:
        """Keep the bytes until they are taken."""
        part = bytes(data)  # type: ignore[call-overload]
        self._parts.append(part)
        self._written += len(part)
        return len(part)

    def taken(self) -> bytes:
        """Return what was written since the last call."""
        data = b"".join(self._parts)
        self._parts.clear()
        return data


def _closing(stack: ExitStack, parts: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the parts, and end the query when they are all sent, or when nobody waits for them any more."""
    with stack:
        yield from parts


_KINDS: dict[str, tuple[Callable[[pa.Schema, Batches], Iterator[bytes]], str]] = {
    "csv": (_csv, "text/csv; charset=utf-8"),
    "parquet": (_parquet, "application/vnd.apache.parquet"),
}
EXPORTS = tuple(_KINDS)
