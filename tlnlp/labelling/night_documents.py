"""Say where the documents of a night are, and how they are written, as the ledger of its run states it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tlnlp.data.csv_records import CsvDialect
from tlnlp.data.document_texts import DocumentFiles
from tlnlp.data.text import text_sha256
from tlnlp.errors import NotFoundError, StorageError, UsageError
from tlnlp.runs.ledger import read_ledger
from tlnlp.warehouse.run_folder import all_ledgers

_NAMES = ("id_column", "text_column", "format", "encoding")


def run_ledger(warehouse: str, run_id: str) -> Mapping[str, Any]:
    """Return the ledger of a run; empty where it is missing or damaged."""
    try:
        return read_ledger(all_ledgers(warehouse), f"{run_id}.json")
    except (NotFoundError, StorageError, UsageError):
        return {}


def kept_text(values: Iterable[object], digest: str) -> str | None:
    """Return the text of a document, if a kept column holds it.

    Args:
        values: the values of the kept columns of its row.
        digest: the sha256 of its text.
    """
    return next((one for one in values if isinstance(one, str) and text_sha256(one) == digest), None)


def document_files(config: Mapping[str, Any], given: str | None, source: str) -> DocumentFiles:
    """Return the documents' files.

    Args:
        config: the settings of the run, of its ledger; empty if it is gone.
        given: where the user says that they are; None: where the ledger says that they were.
        source: the name of the documents in the table.

    Raises:
        UsageError: nothing says where they are, or the ledger states what no setting can be.
    """
    uri = str(given or config.get("documents") or source)
    if "://" not in uri:
        raise UsageError(
            f"the table names its documents {uri!r}, which is no address, and the ledger of the run is gone; say where "
            "they are with --set documents=URI"
        )
    found: dict[str, Any] = {name: str(config[name]) for name in _NAMES if name in config}
    try:
        return DocumentFiles(uri, **found, csv=CsvDialect(**config.get("csv") or {}))
    except (TypeError, ValueError) as error:
        raise UsageError(
            "the ledger of the run states no valid format of the documents, so they cannot be read; score the night "
            "again"
        ) from error
