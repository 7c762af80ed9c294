"""The page of groups: the share of a label among the documents with each value of a kept column."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tlnlp.errors import UsageError
from tlnlp.explore.explorer import Explorer
from tlnlp.explore.group_figures import GroupRow, group_counts, group_rows
from tlnlp.explore.night_figures import night_figures
from tlnlp.explore.pages.page import Page, Values
from tlnlp.explore.params import LONGEST, Params
from tlnlp.explore.selection import kept_column

SHOWN = 200
_OTHERS, _OPTIONS = 4, 200
# The lower end of the interval, so that no group of a few documents leads.
_ORDERS: dict[str, Callable[[GroupRow], Any]] = {
    "share": lambda row: (-row.low, -row.rows),
    "change": lambda row: (not row.is_clear, -abs(row.change or 0.0)),
    "documents": lambda row: -row.rows,
    "value": lambda row: (row.value is None, row.value or ""),
}


def values(explorer: Explorer, params: Params) -> Values:
    """Return the values of the page. Parameters: ``date``, ``column``, ``label``, ``sort``."""
    table = explorer.table()
    night = explorer.night(table, params.day("date"))
    shared: dict[str, Any] = {"night": night, "sorts": tuple(_ORDERS)}
    if not table.kept:
        return shared | {"column": None}
    column = kept_column(params, table) or table.kept[0].name
    found = night_figures(explorer, table, night).labels
    labels = [one.label for one in found[:_OPTIONS] if len(one.label) <= LONGEST]
    label = params.text("label") or (labels[0] if labels else None)
    if label is not None and label not in labels:
        raise UsageError("label: no document of this night has this label; choose one in the list")
    sort = params.choice("sort", tuple(_ORDERS), "share")
    others = tuple(other for other in labels if other != label)[:_OTHERS]
    now = group_counts(explorer, table, night, column, copied=True)
    last = table.before(night)
    before = group_counts(explorer, table, last, column, copied=False) if last else None
    rows = sorted(group_rows(now, before, label, others), key=_ORDERS[sort]) if label is not None else []
    return shared | {
        "last": last,
        "column": column,
        "label": label,
        "labels": labels,
        "others": others,
        "sort": sort,
        "rows": rows[:SHOWN],
        "ranked": len(rows),
        "values_in_all": now.values,
    }


PAGE = Page("/groups", "Groups", "groups.html.jinja", values)
