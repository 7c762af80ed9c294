"""Count the rows of a night by the values of a kept column and by label, and put intervals around the shares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tlnlp.evaluate.intervals import difference_intervals, wilson_intervals
from tlnlp.explore.explorer import Explorer
from tlnlp.explore.selection import value_of
from tlnlp.warehouse.night_copy import ROWS
from tlnlp.warehouse.nights import Night, ScoresTable

MOST_VALUES = 1_000
_MOST_COUNTS = 50_000


@dataclass(frozen=True)
class GroupCounts:
    """The rows of a night by the value of a kept column (None: it has none) and by label.

    Fields:
        counts: rows by label, by value, for the ``MOST_VALUES`` most frequent values.
        values: how many values there are in all.
    """

    counts: Mapping[str | None, Mapping[str, int]]
    values: int


@dataclass(frozen=True)
class GroupRow:
    """The share of a label among the documents with a value.

    Fields:
        value: the value; None: the documents have none.
        rows: the documents with the value.
        share: the share of the label, with its 95% interval from ``low`` to ``high``.
        change: the change of the share since the night before; None where that night has no such document.
        is_clear: whether the 95% interval of the change excludes 0.
        others: the shares of other labels.
    """

    value: str | None
    rows: int
    share: float
    low: float
    high: float
    change: float | None
    is_clear: bool
    others: tuple[float, ...]


def group_counts(explorer: Explorer, table: ScoresTable, night: Night, column: str, copied: bool) -> GroupCounts:
    """Return the counts of a night; they are computed once for the files of the night.

    Args:
        copied: whether they are taken from the copy of the night, which is made if it is not there.
    """

    def count() -> GroupCounts:
        """Return the counts by one query."""
        if copied:
            rows = explorer.copy_rows(table, night, _sql(ROWS, column))
        else:
            rows = explorer.rows(table, _sql(explorer.night_rows(table, night), column))
        counts: dict[str | None, dict[str, int]] = {}
        for value, label, n, _ in rows:
            counts.setdefault(value, {})[str(label)] = n
        return GroupCounts(counts, rows[0][3] if rows else 0)

    return explorer.once(("group", night.token, column), count)


def _sql(rows: str, column: str) -> str:
    return f"""
        WITH counts AS (SELECT {value_of(column)} AS value, label, count(*) AS n FROM {rows} GROUP BY ALL),
             totals AS (SELECT value, sum(n) AS total, count(*) OVER () AS many FROM counts GROUP BY value
                        ORDER BY total DESC, value LIMIT {MOST_VALUES})
        SELECT counts.value, label, n::BIGINT, many
        FROM counts JOIN totals ON counts.value IS NOT DISTINCT FROM totals.value
        ORDER BY n DESC, counts.value, label LIMIT {_MOST_COUNTS}"""


def group_rows(now: GroupCounts, before: GroupCounts | None, label: str, others: tuple[str, ...]) -> list[GroupRow]:
    """Return a row for each value, in no order."""
    values = list(now.counts)
    last: Mapping[str | None, Mapping[str, int]] = before.counts if before else {}
    totals = {value: sum(now.counts[value].values()) for value in values}
    hits = np.array([now.counts[value].get(label, 0) for value in values])
    n = np.array([totals[value] for value in values])
    hits_before = np.array([last.get(value, {}).get(label, 0) for value in values])
    n_before = np.array([sum(last.get(value, {}).values()) for value in values])
    low, high = wilson_intervals(hits, n)
    least, most = difference_intervals(hits, n, hits_before, n_before)
    found = []
    for place, value in enumerate(values):
        known = bool(n_before[place])
        share = float(hits[place] / n[place])
        found.append(
            GroupRow(
                value,
                int(n[place]),
                share,
                float(low[place]),
                float(high[place]),
                share - float(hits_before[place] / n_before[place]) if known else None,
                known and not least[place] <= 0 <= most[place],
                tuple(now.counts[value].get(other, 0) / totals[value] for other in others),
            )
        )
    return found
