"""Select documents of a night: the parameters of the address become conditions with bound values, and a sort order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tlnlp.errors import UsageError
from tlnlp.explore.explorer import Explorer
from tlnlp.explore.params import Params
from tlnlp.warehouse.night_copy import ROWS, VALUE_CHARS
from tlnlp.warehouse.nights import Night, ScoresTable
from tlnlp.warehouse.query_engine import identifier

DOUBT, CONFIDENCE = "doubt", "confidence"
_WORDS = 8


def value_of(column: str) -> str:
    """Return the SQL of the value of a kept column as text; null where it has none."""
    return f"nullif(left(CAST({identifier(column)} AS VARCHAR), {VALUE_CHARS}), '')"


@dataclass(frozen=True)
class Selection:
    """Which documents of a night are shown, and in which order.

    Fields:
        conditions: SQL conditions, each with ``?`` for its values.
        parameters: the values.
        sort: ``doubt`` (lowest score first) or ``confidence``.
    """

    conditions: tuple[str, ...]
    parameters: tuple[object, ...]
    sort: str

    @property
    def where(self) -> str:
        """Return the condition that all conditions hold."""
        return " AND ".join(f"({one})" for one in self.conditions) or "true"

    @property
    def order(self) -> str:
        """Return the ORDER BY clause. No two rows of a night have the same id."""
        way = "ASC" if self.sort == DOUBT else "DESC"
        return f"ORDER BY score {way}, document_id {way}"

    def after(self, score: float, document_id: str) -> Selection:
        """Return the selection of what follows a row in the sort order."""
        return self._beside(">" if self.sort == DOUBT else "<", "", score, document_id)

    def until(self, score: float, document_id: str) -> Selection:
        """Return the selection of what comes before a row in the sort order, and of that row."""
        return self._beside("<" if self.sort == DOUBT else ">", "=", score, document_id)

    def _beside(self, sign: str, same: str, score: float, document_id: str) -> Selection:
        condition = f"score {sign} ? OR (score = ? AND document_id {sign}{same} ?)"
        return Selection((*self.conditions, condition), (*self.parameters, score, score, document_id), self.sort)


def read_selection(params: Params, table: ScoresTable) -> Selection:
    """Return the selection that an address states.

    Parameters: ``label``, ``stage``, ``from`` and ``to`` (of the score), ``words`` (each is a part of the id),
    ``column`` with ``value`` or ``none`` (a kept column that has this value, or none), ``sort``.

    Raises:
        UsageError: a parameter has another type, or the table has no such kept column.
    """
    conditions, parameters = list[str](), list[object]()

    def add(condition: str, *values: object) -> None:
        """Take a condition with the values that it binds."""
        conditions.append(condition)
        parameters.extend(values)

    for name in ("label", "stage"):
        if (text := params.text(name)) is not None:
            add(f"{name} = ?", text)
    if (low := params.share("from")) is not None:
        add("score >= ?", low)
    if (high := params.share("to")) is not None:
        add("score <= ?", high)
    for word in (params.text("words") or "").split()[:_WORDS]:
        add("contains(lower(document_id), lower(?))", word)
    if (column := kept_column(params, table)) is not None:
        if params.text("none"):
            add(f"{value_of(column)} IS NULL")
        elif (value := params.text("value")) is not None:
            add(f"{value_of(column)} = ?", value)
    return Selection(tuple(conditions), tuple(parameters), params.choice("sort", (DOUBT, CONFIDENCE), DOUBT))


def kept_column(params: Params, table: ScoresTable) -> str | None:
    """Return the kept column that the parameter ``column`` names; None without it. Raises UsageError."""
    column = params.text("column")
    names = [one.name for one in table.kept]
    if column is not None and column not in names:
        has = f"it has {', '.join(names[:20])}" if names else "it has none: set keep_columns when you score"
        raise UsageError(f"column: the table has no kept column of that name ({has})")
    return column


def selected(explorer: Explorer, table: ScoresTable, night: Night, selection: Selection) -> int:
    """Return how many documents of a night are selected."""
    if not selection.conditions:
        return night.rows
    sql = f"SELECT count(*) FROM {ROWS} WHERE {selection.where}"
    key = ("count", night.token, selection)
    return explorer.once(key, lambda: int(explorer.copy_rows(table, night, sql, *selection.parameters)[0][0]))


def cursor(row: Sequence[Any]) -> str:
    """Return the parameter ``after`` of the page that follows a row, which begins with its id and its score."""
    return f"{float(row[1])!r}:{row[0]}"


def read_cursor(selection: Selection, params: Params) -> Selection:
    """Return the selection of the page that the parameter ``after`` states. Raises UsageError."""
    after = params.text("after")
    if after is None:
        return selection
    score, colon, document_id = after.partition(":")
    try:
        if not colon:
            raise ValueError
        return selection.after(float(score), document_id)
    except ValueError as error:
        raise UsageError("after: the address holds no place in a list; open the first page of the list") from error
