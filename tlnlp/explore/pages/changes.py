"""The page of changes: which documents have another label than in the night before, from which label to which."""

from __future__ import annotations

from dataclasses import dataclass

from tlnlp.explore.explorer import Explorer
from tlnlp.explore.pages.page import Page, Values
from tlnlp.explore.params import Params
from tlnlp.warehouse.nights import Night, ScoresTable

SHOWN = 200
_EXAMPLES = 3
_MOST_PAIRS = 10_000


@dataclass(frozen=True)
class Change:
    """The documents that went from one label to another: how many, and the ids of the surest ones."""

    before: str
    now: str
    rows: int
    examples: tuple[str, ...]


@dataclass(frozen=True)
class Changes:
    """What two nights say of the documents that both hold.

    Fields:
        both: the documents of both nights.
        changed: those with another label.
        pairs: from which label to which, the most frequent first.
    """

    both: int
    changed: int
    pairs: tuple[Change, ...]


def values(explorer: Explorer, params: Params) -> Values:
    """Return the values of the page. Parameter: ``date``."""
    table = explorer.table()
    night = explorer.night(table, params.day("date"))
    last = table.before(night)
    found = (
        explorer.once(("changes", night.token, last.token), lambda: _compare(explorer, table, night, last))
        if last
        else None
    )
    return {"night": night, "last": last, "found": found, "pairs": found.pairs[:SHOWN] if found else ()}


def _compare(explorer: Explorer, table: ScoresTable, night: Night, last: Night) -> Changes:
    sql = f"""
        SELECT last.label, now.label, count(*) AS n, max_by(document_id, now.score, {_EXAMPLES})
        FROM {explorer.night_rows(table, night)} AS now JOIN {explorer.night_rows(table, last)} AS last
        USING (document_id) GROUP BY ALL ORDER BY n DESC, last.label, now.label LIMIT {_MOST_PAIRS}"""
    rows = explorer.rows(table, sql)
    pairs = tuple(Change(str(one), str(other), n, tuple(ids or ())) for one, other, n, ids in rows if one != other)
    return Changes(sum(row[2] for row in rows), sum(pair.rows for pair in pairs), pairs)


PAGE = Page("/changes", "Changes", "changes.html.jinja", values, listed=False)
