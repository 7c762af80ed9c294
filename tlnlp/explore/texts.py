"""Read the text of a scored document: from a kept column, or from the documents that the night has read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tlnlp.data.document_texts import find_texts
from tlnlp.errors import InputDataError, StorageError, UsageError, counted, sentence_of
from tlnlp.explore.explorer import Explorer
from tlnlp.explore.run_ledgers import config_of
from tlnlp.labelling.night_documents import document_files, kept_text
from tlnlp.warehouse.nights import ScoresTable

TIMEOUT_S = 10.0

Values = Mapping[str, Any]


@dataclass(frozen=True)
class DocumentText:
    """The text of a document, or why it cannot be shown; one of the two is None."""

    text: str | None = None
    problem: str | None = None


def read_texts(explorer: Explorer, table: ScoresTable, rows: Sequence[Values]) -> dict[str, str]:
    """Return the texts of those of some rows of one night that can be read in a while, by the ids of their documents.

    Raises:
        UsageError: the ledger of the run states no valid format of the documents.
        StorageError: the store cannot be read.
    """
    texts = {str(row["document_id"]): text for row in rows if (text := _kept_text(table, row)) is not None}
    missing = {str(row["document_id"]): str(row["text_sha256"]) for row in rows if str(row["document_id"]) not in texts}
    if missing:
        files = document_files(config_of(explorer, str(rows[0]["run_id"])), explorer.settings.documents, table.source)
        try:
            texts |= find_texts(files, missing, TIMEOUT_S).texts
        except InputDataError as error:
            raise StorageError(str(error)) from error
    return {str(row["document_id"]): texts[str(row["document_id"])] for row in rows if str(row["document_id"]) in texts}


def _kept_text(table: ScoresTable, row: Values) -> str | None:
    return kept_text((row.get(column.name) for column in table.kept), str(row["text_sha256"]))


def read_text(explorer: Explorer, table: ScoresTable, row: Values) -> DocumentText:
    """Return the text of a document.

    Args:
        explorer: what all pages share.
        table: the table.
        row: the values of the row, by column.
    """
    digest = str(row["text_sha256"])
    if (kept := _kept_text(table, row)) is not None:
        return DocumentText(kept)
    try:
        config = config_of(explorer, str(row["run_id"]))
        files = document_files(config, explorer.settings.documents, table.source)
        found = find_texts(files, {str(row["document_id"]): digest}, TIMEOUT_S)
    except (InputDataError, StorageError, UsageError) as error:
        return DocumentText(problem=f"The documents cannot be read now. {sentence_of(error)}")
    if found.texts:
        return DocumentText(next(iter(found.texts.values())))
    if found.changed:
        return DocumentText(
            problem=f"{files.uri} holds another text under this id by now, so it is not the one that was scored."
        )
    if not found.is_complete:
        return DocumentText(
            problem=f"The document is not among the first {counted(found.rows, 'row')} of {files.uri}, which is what "
            f"could be read in {TIMEOUT_S:.0f} s. Keep the text in the table (keep_columns) to have it at hand."
        )
    return DocumentText(
        problem=f"{files.uri} holds no document of this id by now. If the documents have moved, say where they are: "
        "tlnlp explore --set documents=URI."
    )
