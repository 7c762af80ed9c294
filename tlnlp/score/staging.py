"""Write the Parquet files of one run, and a manifest for each finished piece.

Each attempt writes to a new folder. The folder is read only after its job has committed (``_SUCCESS``), so it holds
exactly what the job committed.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pyspark.sql import DataFrame

from tlnlp.errors import EngineError
from tlnlp.score.session import spark_errors, spark_input, spark_uri
from tlnlp.storage import Storage
from tlnlp.warehouse.audit import footer_rows
from tlnlp.warehouse.run_folder import (
    PREPARED,
    Piece,
    attempt_key,
    bucket_folder,
    partition_of,
    run_storage,
    write_manifest,
)

FOOTER_READERS = 16


@dataclass(frozen=True)
class PreparedRows:
    """The prepared rows of a run: ``uri`` of their folder, and ``rows``: row counts by outcome and bucket."""

    uri: str
    rows: dict[str, dict[int, int]]

    @property
    def total(self) -> int:
        """Return the number of all rows."""
        return sum(map(self.count, self.rows))

    def count(self, outcome: str) -> int:
        """Return the number of rows with this outcome."""
        return sum(self.rows.get(outcome, {}).values())

    def buckets(self, outcome: str) -> list[int]:
        """Return the buckets that have rows with this outcome, sorted."""
        return sorted(self.rows.get(outcome, {}))

    def folders(self, outcome: str, buckets: list[int]) -> list[str]:
        """Return the folders of these buckets, as Spark's readers take them."""
        return [bucket_folder(spark_input(self.uri), outcome, bucket) for bucket in buckets]

    def chunks(self, outcome: str, rows: int) -> list[list[int]]:
        """Group the buckets of an outcome into chunks of at most ``rows`` rows; a larger bucket is a chunk alone."""
        groups: list[list[int]] = []
        filled = rows
        for bucket, count in sorted(self.rows.get(outcome, {}).items()):
            if filled + count > rows:
                groups.append([])
                filled = 0
            groups[-1].append(bucket)
            filled += count
        return groups


class Staging:
    """Write, count and remove the staged files of one run."""

    def __init__(self, warehouse: str, run_id: str) -> None:
        self.run_id = run_id
        self.storage = run_storage(warehouse, run_id)

    def prepare(self, rows: DataFrame) -> PreparedRows:
        """Write the prepared rows and count them. This is the only read of the input.

        Raises:
            InputDataError: an input file cannot be read.
            EngineError: the Spark job failed or did not commit.
            StorageError: the warehouse cannot be read or written.
        """
        key = attempt_key(PREPARED)
        files = write_files(self.storage, key, rows, ["outcome", "bucket"], "reading the documents")
        rows_by_outcome: dict[str, dict[int, int]] = {}
        for file, count in files.items():
            outcome, bucket = partition_of(file)
            by_bucket = rows_by_outcome.setdefault(outcome, {})
            by_bucket[bucket] = by_bucket.get(bucket, 0) + count
        return PreparedRows(self.storage.url(key), rows_by_outcome)

    def write(self, piece: str, rows: DataFrame | None, what: str) -> Piece:
        """Write the rows as the piece of this name, then its manifest.

        Args:
            rows: None if there are none; a Spark job that writes nothing would take seconds.
            what: the step, in error messages.

        Raises:
            EngineError: the Spark job failed or did not commit.
            StorageError: the warehouse cannot be read or written.
        """
        files = {} if rows is None else write_files(self.storage, attempt_key(piece), rows, [], what)
        finished = Piece(piece, {file: count for file, count in files.items() if count})
        write_manifest(self.storage, finished)
        return finished

    def drop_prepared(self) -> None:
        """Remove the prepared rows, which hold document texts."""
        self.storage.delete_folder(PREPARED)

    def drop(self) -> None:
        """Remove all files of the run. Only a run that has published nothing may call this."""
        self.storage.delete_folder("")


def repartition_to_files(rows: DataFrame, count: int, file_rows: int) -> DataFrame:
    """Repartition ``count`` rows so that they are written as files of about ``file_rows`` rows.

    Scoring runs in many small tasks, but readers of the table want few files.
    """
    return rows.repartition(max(1, math.ceil(count / file_rows)), "document_id")


def write_files(storage: Storage, key: str, rows: DataFrame, partition_by: list[str], what: str) -> dict[str, int]:
    """Write rows as Parquet files below ``key``, which must be new; return the row count of each file by its URI.

    Args:
        partition_by: columns whose values name the folders of the files.
        what: the step, in error messages.

    Raises:
        EngineError: the Spark job failed or did not commit.
        StorageError: the store cannot be written.
    """
    with spark_errors(what):
        rows.write.partitionBy(*partition_by).parquet(spark_uri(storage.url(key)))
    entries = [entry.key for entry in storage.list(key)]
    if f"{key}/_SUCCESS" not in entries:
        raise EngineError(
            f"{what}: the Spark job wrote no _SUCCESS file to {storage.url(key)}, so its output may be "
            "incomplete; nothing was published; run the night again"
        )
    files = sorted(storage.url(entry) for entry in entries if entry.endswith(".parquet"))
    with ThreadPoolExecutor(FOOTER_READERS) as pool:
        return dict(zip(files, pool.map(lambda file: footer_rows([file]), files), strict=True))
