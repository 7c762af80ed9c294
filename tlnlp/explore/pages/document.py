"""The page of a document: its probabilities, its text, where its score comes from, and what earlier nights said."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date
from typing import Any

from tlnlp.errors import NotFoundError, UsageError
from tlnlp.explore.evidence import evidence_of
from tlnlp.explore.explorer import Explorer
from tlnlp.explore.pages.page import Page, Values
from tlnlp.explore.params import Params
from tlnlp.explore.related import Related, has_found, similar_documents
from tlnlp.explore.texts import read_text
from tlnlp.warehouse.nights import Night, ScoresTable
from tlnlp.warehouse.query_engine import identifier
from tlnlp.warehouse.schema import SCORE_DATE

_MOST_CLASSES = 200
# So many rows are searched for the history of a document, unless all of it is asked for.
_HISTORY_ROWS = 2_000_000
_HISTORY_SHOWN = 400
# A value of another type may be written in another way where documents are selected by it.
_SELECTED_AS_SHOWN = ("string", "int", "long", "date")

Seen = tuple[date, Any, Any, Any, Any]
"""Day, label, score, stage and version of a document in a night."""


def values(explorer: Explorer, params: Params) -> Values:
    """Return the values of the page.

    Parameters: ``date``, ``id``, ``history`` (``all``: of all nights), ``why`` and ``similar`` (``yes``).
    """
    table = explorer.table()
    night = explorer.night(table, params.day("date"))
    document_id = params.exact("id")
    if document_id is None:
        raise UsageError("id: the address names no document; open one from the list of documents")
    row = explorer.row(table, night, document_id)
    if row is None:
        raise NotFoundError(
            f"no document of this id has a row in the night of {night.day}; choose one in the list of documents, or "
            "another night"
        )
    explorer.copy_in_background(table, night)
    found = read_text(explorer, table, row)
    asked = params.choice("why", ("no", "yes"), "no") == "yes"
    nights = _searched(table, night, params.choice("history", ("recent", "all"), "recent") == "all")
    return {
        "night": night,
        "row": row,
        "probabilities": _probabilities(row["probabilities"]),
        "kept": [(column.name, row[column.name], column.type in _SELECTED_AS_SHOWN) for column in table.kept],
        "text": found,
        "evidence": evidence_of(explorer, table, row, found.text) if asked and found.text is not None else None,
        "similar": _similar(explorer, table, night, row, found.text, params),
        "history": _history(explorer, table, row, [one for one in nights if one is not night]),
        "nights_left": len(table.nights) - len(nights),
    }


def _similar(
    explorer: Explorer, table: ScoresTable, night: Night, row: Mapping[str, Any], text: str | None, params: Params
) -> Related | None:
    """Return documents with similar words, if they are asked for."""
    if text is None or params.choice("similar", ("no", "yes"), "no") == "no":
        return None
    key = ("similar", night.token, str(row["document_id"]))
    return explorer.once(key, lambda: similar_documents(explorer, table, night, row, text), has_found)


def _probabilities(found: Mapping[str, Any] | None) -> list[tuple[str, float | None]]:
    """Return the classes with their probabilities, the most probable first; None for what is no number."""
    pairs = [
        (str(name), float(value) if isinstance(value, int | float) and math.isfinite(value) else None)
        for name, value in (found or {}).items()
    ]
    return sorted(pairs, key=lambda pair: (-(pair[1] or 0.0), pair[0]))[:_MOST_CLASSES]


def _searched(table: ScoresTable, night: Night, everywhere: bool) -> list[Night]:
    """Return the nights whose rows are searched: those around a night, as many as there is time for."""
    near = sorted(table.nights, key=lambda one: abs((one.day - night.day).days))
    rows, found = 0, list[Night]()
    for one in near:
        rows += one.rows
        if everywhere or len(found) < 2 or rows <= _HISTORY_ROWS:
            found.append(one)
        else:
            break
    return found


def _history(explorer: Explorer, table: ScoresTable, row: Mapping[str, Any], others: list[Night]) -> list[Seen]:
    """Return what a row says of its document, and what other nights say, the newest first."""
    own: Seen = (date.fromisoformat(row[SCORE_DATE]), row["label"], row["score"], row["stage"], row["model_version"])
    if not others:
        return [own]
    sql = f"""
        SELECT {SCORE_DATE}, label, score, stage, model_version FROM {identifier(table.name)}
        WHERE {SCORE_DATE} >= ? AND {SCORE_DATE} <= ? AND {SCORE_DATE} <> ? AND document_id = ?
        ORDER BY {SCORE_DATE} DESC LIMIT {_HISTORY_SHOWN}"""
    document_id, days = str(row["document_id"]), [night.day for night in others]
    # A range of days leaves out the files of all others; the night of the row lies in it.
    key = ("history", tuple(night.token for night in others), document_id)
    rows = explorer.once(key, lambda: explorer.rows(table, sql, min(days), max(days), own[0], document_id))
    seen: list[Seen] = [(date.fromisoformat(day), *found) for day, *found in rows]
    return sorted([own, *seen], key=lambda one: one[0], reverse=True)


PAGE = Page("/document", "Document", "document.html.jinja", values, listed=False)
