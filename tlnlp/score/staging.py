"""The folders of one run: Parquet written by Spark jobs, each finished piece described by a manifest.

    runs/<run_id>/prepared/<attempt>/outcome=.../bucket=.../   every input row with its outcome; removed at the end
    runs/<run_id>/<piece>/<attempt>/                           what will be published
    runs/<run_id>/manifests/<piece>.json                       files and rows of a finished piece

An attempt's folder is fresh, only one job writes to it, and it is read after that job has committed (``_SUCCESS``): so
what is in it is what the job committed.
"""

from __future__ import annotations

import json
import re
import secrets
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pyspark.sql import DataFrame

from tlnlp.errors import EngineError
from tlnlp.score.session import spark_input, spark_uri, translated
from tlnlp.storage import Storage
from tlnlp.warehouse.audit import footer_rows

FOOTER_READERS = 16
PREPARED = "prepared"
_PARTITION = re.compile(r"outcome=(?P<outcome>[a-z]+)/bucket=(?P<bucket>\d+)/")


@dataclass(frozen=True)
class Piece:
    """A finished piece: URIs of its files, and their rows by their footers."""

    files: tuple[str, ...]
    rows: int


@dataclass(frozen=True)
class PreparedRows:
    """Where the prepared rows lie, and how many there are by outcome and bucket."""

    uri: str
    rows: dict[str, dict[int, int]]

    @property
    def total(self) -> int:
        return sum(map(self.count, self.rows))

    def count(self, outcome: str) -> int:
        return sum(self.rows.get(outcome, {}).values())

    def buckets(self, outcome: str) -> list[int]:
        return sorted(self.rows.get(outcome, {}))

    def folders(self, outcome: str, buckets: list[int]) -> list[str]:
        return [f"{spark_input(self.uri)}/outcome={outcome}/bucket={bucket}" for bucket in buckets]

    def chunks(self, outcome: str, rows: int) -> list[list[int]]:
        """The buckets of an outcome, grouped so that a group holds about ``rows`` rows."""
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
    """The staged files of one run."""

    def __init__(self, warehouse: str, run_id: str) -> None:
        self.run_id = run_id
        self.storage = Storage(warehouse).at(f"runs/{run_id}")

    def prepare(self, rows: DataFrame) -> PreparedRows:
        """Write every prepared row; the one read of the input happens here.

        Raises:
            InputDataError, EngineError, StorageError.
        """
        key = f"{PREPARED}/{secrets.token_hex(4)}"
        files = self._write(rows, key, ["outcome", "bucket"], "reading the documents")
        found: dict[str, dict[int, int]] = {}
        for file, count in zip(files, _counts(files), strict=True):
            match = _PARTITION.search(file)
            assert match is not None
            by_bucket = found.setdefault(match["outcome"], {})
            by_bucket[int(match["bucket"])] = by_bucket.get(int(match["bucket"]), 0) + count
        return PreparedRows(self.storage.url(key), found)

    def write(self, piece: str, rows: DataFrame, what: str) -> Piece:
        """Write one piece and its manifest."""
        files = self._write(rows, f"{piece}/{secrets.token_hex(4)}", [], what)
        counts = _counts(files)
        full = [(file, count) for file, count in zip(files, counts, strict=True) if count]
        done = Piece(tuple(file for file, _ in full), sum(counts))
        manifest = {"piece": piece, "rows": done.rows, "files": dict(full)}
        self.storage.write(f"manifests/{piece}.json", json.dumps(manifest, indent=1).encode())
        return done

    def drop_prepared(self) -> None:
        self.storage.delete_folder(PREPARED)

    def drop(self) -> None:
        """Remove everything; for a run that published nothing."""
        self.storage.delete_folder("")

    def _write(self, rows: DataFrame, key: str, partition_by: list[str], what: str) -> list[str]:
        with translated(what):
            rows.write.partitionBy(*partition_by).parquet(spark_uri(self.storage.url(key)))
        entries = [entry.key for entry in self.storage.list(key)]
        if f"{key}/_SUCCESS" not in entries:
            raise EngineError(f"{what}: the job left no _SUCCESS under {self.storage.url(key)}; run the night again")
        return sorted(self.storage.url(entry) for entry in entries if entry.endswith(".parquet"))


def _counts(files: list[str]) -> list[int]:
    with ThreadPoolExecutor(FOOTER_READERS) as pool:
        return list(pool.map(lambda file: footer_rows([file]), files))
