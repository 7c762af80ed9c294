"""The folder of one run in a warehouse: only this module spells its layout.

    runs/<run_id>/alive.json                                    lease of the process that writes the folder
    runs/<run_id>/_catalog.json                                 name of the catalog that refers to its files
    runs/<run_id>/prepared/<attempt>/outcome=.../bucket=.../    every input row with its outcome; removed at the end
    runs/<run_id>/<piece>/<attempt>/                            the files to be published
    runs/<run_id>/manifests/<piece>.json                        files and rows of a finished piece
    ledgers/<run_id>.json                                       ledger of the run; it stays when the folder is removed

The output of one Spark job is a piece. Each attempt writes to a new folder.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from tlnlp.errors import NotFoundError
from tlnlp.storage import Storage

LEASE = "alive.json"
PREPARED = "prepared"
# The names of pieces: scored chunks (with a number), copied rows, rejected rows.
SCORES_PREFIX, REUSED_PIECE, QUARANTINE_PIECE = "scores-", "reused", "quarantine"
_RUNS, _LEDGERS, _CATALOG, _MANIFESTS = "runs", "ledgers", "_catalog.json", "manifests"
_RUN_OF_FILE = re.compile(rf"^(?P<folder>.*/{_RUNS}/(?P<run_id>[^/]+))/")
_PARTITION = re.compile(r"outcome=(?P<outcome>[a-z]+)/bucket=(?P<bucket>\d+)/")


@dataclass(frozen=True)
class Piece:
    """A finished piece of a run.

    Fields:
        files: the row count of each non-empty file by its URI, as the Parquet footers give it.
    """

    name: str
    files: dict[str, int]

    @property
    def rows(self) -> int:
        """Return the number of rows."""
        return sum(self.files.values())


def all_runs(warehouse: str) -> Storage:
    """Return the storage whose folders are the runs."""
    return Storage(warehouse).at(_RUNS)


def run_storage(warehouse: str, run_id: str) -> Storage:
    """Return the storage of one run's folder."""
    return all_runs(warehouse).at(run_id)


def all_ledgers(warehouse: str) -> Storage:
    """Return the storage that holds the ledger of each run under ``<run_id>.json``."""
    return Storage(warehouse).at(_LEDGERS)


def chunk_name(number: int) -> str:
    """Return the name of the piece of scores with this number."""
    return f"{SCORES_PREFIX}{number:04d}"


def attempt_key(piece: str) -> str:
    """Return a new folder for one attempt to write a piece."""
    return f"{piece}/{secrets.token_hex(4)}"


def partition_of(file: str) -> tuple[str, int]:
    """Return the outcome and the bucket that the path of a prepared file names."""
    match = _PARTITION.search(file)
    assert match is not None, "prepared rows are partitioned by outcome and bucket"
    return match["outcome"], int(match["bucket"])


def bucket_folder(prepared: str, outcome: str, bucket: int) -> str:
    """Return the folder of a bucket below ``prepared``."""
    return f"{prepared}/outcome={outcome}/bucket={bucket}"


def write_manifest(run: Storage, piece: Piece) -> None:
    """Record that a piece is finished.

    Raises:
        StorageError: the manifest cannot be written.
    """
    manifest = {"piece": piece.name, "rows": piece.rows, "files": piece.files}
    run.write(f"{_MANIFESTS}/{piece.name}.json", json.dumps(manifest, indent=1).encode())


def score_manifests(keys: Collection[str]) -> list[str]:
    """Return those keys of a run's folder that are manifests of scores, sorted."""
    return sorted(key for key in keys if key.startswith(f"{_MANIFESTS}/{SCORES_PREFIX}"))


def read_manifest(run: Storage, key: str) -> Piece:
    """Return the piece that a manifest describes.

    Raises:
        StorageError: the manifest cannot be read.
        ValueError: it is no manifest.
    """
    manifest = json.loads(run.read(key))
    try:
        return Piece(str(manifest["piece"]), {str(uri): int(rows) for uri, rows in manifest["files"].items()})
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{run.url(key)}: not a manifest of a piece") from error


def run_id_of(uri: str) -> str | None:
    """Return the run id of a file below ``.../runs/<run_id>/``; None for a file elsewhere."""
    match = _RUN_OF_FILE.match(uri)
    return match["run_id"] if match else None


def only_quarantine(keys: Collection[str]) -> bool:
    """Return True if all these keys of a run's folder belong to its quarantine, which a table may refer to."""
    return all(key.startswith(f"{QUARANTINE_PIECE}/") or key == _CATALOG for key in keys)


def mark_catalog(files: Sequence[str], catalog_name: str) -> None:
    """Record in the folders of the files' runs which catalog will refer to them; cleaning by another spares them."""
    folders = {match["folder"] for uri in files if (match := _RUN_OF_FILE.match(uri))}
    for folder in sorted(folders):
        Storage(folder).write(_CATALOG, json.dumps({"catalog": catalog_name}).encode())


def marked_catalog(run: Storage) -> str | None:
    """Return the name of the catalog that the run was staged for; None without a marker, ``?`` if it is damaged."""
    try:
        marker = json.loads(run.read(_CATALOG))
    except NotFoundError:
        return None
    except ValueError:
        return "?"
    return str(marker.get("catalog", "?"))
