"""The page of documents: those of a night that a selection names, sorted by doubt or by confidence."""

from __future__ import annotations

from typing import Any

from tlnlp.explore.explorer import Explorer
from tlnlp.explore.night_figures import night_figures
from tlnlp.explore.pages.page import Page, Values
from tlnlp.explore.params import LONGEST, Params
from tlnlp.explore.related import Related, has_found, telling_sentences
from tlnlp.explore.selection import (
    CONFIDENCE,
    DOUBT,
    Selection,
    cursor,
    kept_column,
    read_cursor,
    read_selection,
    selected,
)
from tlnlp.warehouse.night_copy import ROWS
from tlnlp.warehouse.nights import Night, ScoresTable
from tlnlp.warehouse.query_engine import identifier

SHOWN = 50
_OPTIONS = 200  # Labels in the list of a form.


def values(explorer: Explorer, params: Params) -> Values:
    """Return the values of the page. Parameters: ``date``, ``after``, ``telling``, and those of ``read_selection``."""
    table = explorer.table()
    night = explorer.night(table, params.day("date"))
    selection = read_selection(params, table)
    shown = read_cursor(selection, params)
    column = kept_column(params, table)
    more = f", {identifier(column)}" if column else ""
    sql = f"""
        SELECT document_id, score, label, stage, model_version{more} FROM {ROWS}
        WHERE {shown.where} {shown.order} LIMIT {SHOWN + 1}"""
    found = explorer.copy_rows(table, night, sql, *shown.parameters)
    figures = night_figures(explorer, table, night)
    return {
        "night": night,
        "rows": [_row(row, column) for row in found[:SHOWN]],
        "total": selected(explorer, table, night, selection),
        "following": params.link("/documents", after=cursor(found[SHOWN - 1])) if len(found) > SHOWN else None,
        "column": column,
        "labels": [one.label for one in figures.labels[:_OPTIONS] if len(one.label) <= LONGEST],
        "stages": [name for name, _ in figures.stages[:_OPTIONS] if len(name) <= LONGEST],
        "sorts": (DOUBT, CONFIDENCE),
        "selection": selection,
        "exports": [(kind, params.link(f"/documents/export.{kind}", after=None)) for kind in ("csv", "parquet")],
        "export_rows": explorer.settings.export_rows,
        "telling": _telling(explorer, table, night, selection, params),
    }


def _telling(
    explorer: Explorer, table: ScoresTable, night: Night, selection: Selection, params: Params
) -> Related | None:
    """Return the most telling sentences of the selection, if they are asked for and it has one label."""
    label = params.text("label")
    if label is None or params.choice("telling", ("no", "yes"), "no") == "no":
        return None
    key = ("telling", night.token, selection, label)
    return explorer.once(key, lambda: telling_sentences(explorer, table, night, selection, label), has_found)


def _row(row: tuple[Any, ...], column: str | None) -> dict[str, Any]:
    document_id, score, label, stage, version, *others = row
    return {
        "id": document_id,
        "score": score,
        "label": label,
        "stage": stage,
        "version": version,
        "value": others[0] if column else None,
    }


PAGE = Page("/documents", "Documents", "documents.html.jinja", values)
