"""Audit staged Parquet files before they are published: columns, types, values and row counts.

Files are read batch by batch, so memory does not grow with the number of rows. The audit does not look for a document
id in several rows: scoring groups documents by id and so excludes that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tlnlp.errors import EngineError, counted
from tlnlp.warehouse.schema import QUARANTINE, SCORE_DATE, SCORES, Column, arrow_type_name
from tlnlp.warehouse.staged import open_parquet

SUM_TOLERANCE = 1e-3
# The score and the label's probability are the same number, but one of them may have passed through float32.
SAME_TOLERANCE = 1e-6
_BATCH_ROWS = 16_384


def footer_rows(files: Sequence[str]) -> int:
    """Return the total rows of the Parquet files (URIs), read from their footers. Raises StorageError."""
    return sum(_count(uri) for uri in files)


def audit_scores(
    files: Sequence[str],
    *,
    kept: Sequence[Column],
    labels: Sequence[str],
    score_date: date,
    run_id: str,
    expected_rows: int,
    see: Callable[[pa.RecordBatch], None] = lambda batch: None,
) -> int:
    """Check staged scores against the table's contract and return the number of rows.

    Checks:
        - the footers' rows sum to ``expected_rows``;
        - columns and types are those of the table, with timestamps in microseconds and not INT96;
        - no required column holds a null;
        - score and probabilities lie in [0, 1]; probabilities have exactly the keys ``labels`` and sum to 1 (+-1e-3);
        - the label is a most probable one, and the score is its probability;
        - every row has ``score_date`` and ``run_id``.

    Args:
        see: is called with each batch without a fault, so that the files are read once.

    Raises:
        EngineError: a check failed; the message names the file and the differences.
        StorageError: a file cannot be read.
    """
    domain = pa.array(labels, pa.string())

    def check(batch: pa.RecordBatch) -> Iterable[str]:
        """Return what is wrong with a batch, and let the caller see it if nothing is."""
        faults = [*_constants(batch, score_date, run_id), *_probability_faults(batch, domain)]
        if not faults:
            see(batch)
        return faults

    return _audit(files, [*SCORES, *kept], SCORES, check, expected_rows)


def audit_quarantine(files: Sequence[str], *, score_date: date, run_id: str, expected_rows: int) -> int:
    """Check staged quarantine rows (row count, columns, nulls, date, run id) and return the number of rows.

    Raises:
        EngineError: a check failed; the message names the file and the differences.
        StorageError: a file cannot be read.
    """
    return _audit(files, QUARANTINE, QUARANTINE, lambda batch: _constants(batch, score_date, run_id), expected_rows)


def _audit(
    files: Sequence[str],
    columns: Sequence[Column],
    read: Sequence[Column],
    check: Callable[[pa.RecordBatch], Iterable[str]],
    expected_rows: int,
) -> int:
    rows = 0
    for uri in files:
        with open_parquet(uri) as file:
            rows += file.metadata.num_rows
            _fail(uri, _schema_faults(file, columns))
            for batch in file.iter_batches(_BATCH_ROWS, columns=[column.name for column in read]):
                _fail(uri, _null_faults(batch, read))
                _fail(uri, check(batch))
    if rows != expected_rows:
        raise EngineError(
            f"audit: {counted(len(files), 'staged file')} with {counted(rows, 'row')} in all, but {expected_rows} were "
            "counted while they were written; nothing was published: score the day again"
        )
    return rows


def _count(uri: str) -> int:
    with open_parquet(uri) as file:
        return int(file.metadata.num_rows)


def _fail(uri: str, faults: Iterable[str]) -> None:
    found = list(faults)
    if found:
        raise EngineError(
            f"audit: {uri}: {'; '.join(found)}; nothing was published: this is a bug in scoring, not in your data; "
            "keep the file and report it"
        )


def _schema_faults(file: pq.ParquetFile, columns: Sequence[Column]) -> Iterable[str]:
    physical = [file.schema.column(number) for number in range(len(file.schema))]
    old_times = [column.name for column in physical if column.physical_type == "INT96"]
    if old_times:
        yield f"{', '.join(old_times)}: INT96 timestamps (set spark.sql.parquet.outputTimestampType=TIMESTAMP_MICROS)"
        return
    found = {field.name: arrow_type_name(field.type) for field in file.schema_arrow}
    wanted = {column.name: column.type for column in columns}
    for name, kind in wanted.items():
        if name not in found:
            yield f"column {name} is missing"
        elif found[name] != kind:
            yield f"column {name} is {found[name]}, not {kind}"
    if len(file.schema_arrow) != len(found):
        yield "a column name occurs twice"
    for name in found.keys() - wanted.keys():
        yield f"column {name} is not a column of this table"


def _null_faults(batch: pa.RecordBatch, columns: Sequence[Column]) -> Iterable[str]:
    for column in columns:
        nulls = batch.column(column.name).null_count
        if column.required and nulls:
            yield f"{column.name} is null in {counted(nulls, 'row')}"


def _constants(batch: pa.RecordBatch, score_date: date, run_id: str) -> Iterable[str]:
    for name, value in ((SCORE_DATE, score_date), ("run_id", run_id)):
        other = batch.num_rows - (pc.sum(pc.equal(batch.column(name), pa.scalar(value))).as_py() or 0)
        if other:
            yield f"{name} is not {value} in {counted(other, 'row')}"


def _probability_faults(batch: pa.RecordBatch, domain: pa.Array) -> Iterable[str]:
    label = pc.index_in(batch.column("label"), domain)
    if label.null_count:
        yield f"label is not one of the model's {counted(len(domain), 'label')} in {counted(label.null_count, 'row')}"
        return
    probabilities = _matrix(batch.column("probabilities"), domain)
    if probabilities is None:
        yield f"the keys of probabilities are not exactly the model's {counted(len(domain), 'label')}"
        return
    score = batch.column("score").to_numpy(zero_copy_only=False)
    own = probabilities[np.arange(len(score)), label.to_numpy(zero_copy_only=False)]
    yield from _fault("score is outside [0, 1]", ~((score >= 0) & (score <= 1)))
    yield from _fault("a probability is outside [0, 1]", (~((probabilities >= 0) & (probabilities <= 1))).any(axis=1))
    yield from _fault("probabilities do not sum to 1", ~(np.abs(probabilities.sum(axis=1) - 1) <= SUM_TOLERANCE))
    yield from _fault("score is not the probability of the label", ~(np.abs(score - own) <= SAME_TOLERANCE))
    yield from _fault("label is not the most probable", own < probabilities.max(axis=1) - SAME_TOLERANCE)


def _matrix(maps: pa.MapArray, domain: pa.Array) -> np.ndarray[Any, np.dtype[np.float64]] | None:
    """Return the maps as ``(rows, labels)``, labels ordered as ``domain``; None if a map has other keys or a null."""
    labels = len(domain)
    lengths = np.diff(maps.offsets.to_numpy())
    start, end = maps.offsets[0].as_py(), maps.offsets[-1].as_py()
    keys = pc.index_in(maps.keys[start:end], domain)
    values = maps.items[start:end]
    if (lengths != labels).any() or keys.null_count or values.null_count:
        return None
    place = keys.to_numpy(zero_copy_only=False).reshape(-1, labels)
    order = np.argsort(place, axis=1)
    if (np.take_along_axis(place, order, axis=1) != np.arange(labels)).any():
        return None
    table: np.ndarray[Any, np.dtype[np.float64]] = values.to_numpy(zero_copy_only=False).reshape(-1, labels)
    return np.take_along_axis(table, order, axis=1)


def _fault(what: str, wrong: Any) -> Iterable[str]:
    count = int(wrong.sum())
    if count:
        yield f"{what} in {counted(count, 'row')}"
