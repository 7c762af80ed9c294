"""Read the texts of suspected labels again, from the files that they were read from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tlnlp.data.labels import LabelContract
from tlnlp.data.rows import read_rows
from tlnlp.data.tables import source_files
from tlnlp.data.text import text_sha256
from tlnlp.errors import InputDataError, StorageError

Fault = Mapping[str, Any]


@dataclass(frozen=True)
class LabelText:
    """The text of a suspected label, or why it cannot be shown; one of the two is None."""

    text: str | None = None
    problem: str | None = None


CHANGED = LabelText(problem="This row holds another text than the one that was labelled.")
MISSING = LabelText(problem="The file has no such row now.")
UNREADABLE = LabelText(problem="The file cannot be read now.")


def read_texts(faults: Sequence[Fault], contract: LabelContract, trained_on: Sequence[str]) -> list[LabelText]:
    """Return the text of each suspected label, in the same order.

    A text is shown only if it is the one that the model was trained on: its sha256 must be that of the row, or, for a
    version whose report lacks it, that of any training text.

    Args:
        faults: the suspected labels, each with ``file``, ``row`` and, if known, ``text_sha256``.
        contract: the column of the texts, and how the files are written.
        trained_on: the sha256 of all labelled texts of the version.
    """
    rows = {file: _rows(file, contract) for file in {str(fault["file"]) for fault in faults}}
    known = frozenset(trained_on)
    return [_text(fault, rows[str(fault["file"])], known) for fault in faults]


def _rows(file: str, contract: LabelContract) -> dict[int, object] | None:
    """Return the texts of a file by row; None where it cannot be read."""
    try:
        return {
            row.number: row.values[0]
            for source in source_files(file, contract.format)
            for row in read_rows(source, [contract.text_column], contract.csv, encoding=contract.encoding)
            if row.values
        }
    except (InputDataError, StorageError):
        return None


def _text(fault: Fault, rows: Mapping[int, object] | None, trained_on: frozenset[str]) -> LabelText:
    if rows is None:
        return UNREADABLE
    text = rows.get(int(fault["row"]))
    if text is None:
        return MISSING
    known = fault.get("text_sha256")
    if not isinstance(text, str) or text_sha256(text) not in ({known} if known else trained_on):
        return CHANGED
    return LabelText(text)
