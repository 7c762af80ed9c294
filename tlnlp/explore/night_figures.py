"""Count the rows of a night by label, stage, version and confidence, in one pass."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from tlnlp.explore.explorer import Explorer
from tlnlp.warehouse.nights import Night, ScoresTable
from tlnlp.warehouse.query_engine import identifier

BINS = 20
# A model has some hundred labels at most. A table of another origin may hold one for each row.
_MOST_GROUPS = 100_000
_MOST_REASONS = 100


@dataclass(frozen=True)
class LabelCount:
    """The rows of a night with one label, and the mean of their scores (None: none is a probability)."""

    label: str
    rows: int
    mean_score: float | None


@dataclass(frozen=True)
class NightFigures:
    """Counts of the rows of a night.

    Fields:
        rows: all rows.
        labels: the labels, the most frequent first.
        stages: rows by the view that settled them, the most frequent first.
        versions: rows by the version of the model, likewise.
        histogram: rows by score, in ``BINS`` bins of the same width from 0 to 1.
        without_score: rows whose score is no number from 0 to 1.
        others: rows of labels that are too rare to be counted here.
    """

    rows: int
    labels: tuple[LabelCount, ...]
    stages: tuple[tuple[str, int], ...]
    versions: tuple[tuple[str, int], ...]
    histogram: tuple[int, ...]
    without_score: int
    others: int

    def share(self, label: str) -> float:
        """Return the share of rows with a label."""
        return next((one.rows for one in self.labels if one.label == label), 0) / max(self.rows, 1)


def night_figures(explorer: Explorer, table: ScoresTable, night: Night) -> NightFigures:
    """Return the counts of a night; they are computed once for the files of the night."""
    return explorer.once(("night", night.token), lambda: _count(explorer, table, night))


def quarantine_counts(explorer: Explorer, table: ScoresTable, night: Night) -> list[tuple[str, int]]:
    """Return how many rows of a night were quarantined for each reason, the most frequent first."""
    if table.quarantine is None:
        return []
    name = table.quarantine
    sql = f"""
        SELECT reason, count(*) AS n FROM {identifier(name)} WHERE score_date = ?
        GROUP BY reason ORDER BY n DESC, reason LIMIT {_MOST_REASONS}"""
    key = ("quarantine", night.day, table.tables[name].metadata_location, night.token)
    return explorer.once(key, lambda: [(str(reason), n) for reason, n in explorer.rows(table, sql, night.day)])


def _count(explorer: Explorer, table: ScoresTable, night: Night) -> NightFigures:
    if night.rows == 0:
        return NightFigures(0, (), (), (), (0,) * BINS, 0, 0)
    sql = f"""
        SELECT label, stage, model_version,
               CASE WHEN score BETWEEN 0 AND 1 THEN least(?, floor(score * ?))::INT END AS bin,
               count(*) AS n, sum(score) FILTER (WHERE score BETWEEN 0 AND 1) AS total
        FROM {identifier(table.name)} WHERE score_date = ? GROUP BY ALL ORDER BY n DESC LIMIT ?"""
    labels, stages, versions, bins = Counter[str](), Counter[str](), Counter[str](), Counter[int | None]()
    totals, numbers = Counter[str](), Counter[str]()
    for label, stage, version, place, n, total in explorer.rows(table, sql, BINS - 1, BINS, night.day, _MOST_GROUPS):
        labels[str(label)] += n
        stages[str(stage)] += n
        versions[str(version)] += n
        bins[place] += n
        if place is not None:
            totals[str(label)] += total
            numbers[str(label)] += n
    counted = labels.total()
    return NightFigures(
        max(night.rows, counted),
        tuple(
            LabelCount(label, n, totals[label] / numbers[label] if numbers[label] else None)
            for label, n in sorted(labels.items(), key=lambda one: (-one[1], one[0]))
        ),
        tuple(stages.most_common()),
        tuple(versions.most_common()),
        tuple(bins[place] for place in range(BINS)),
        bins[None],
        max(0, night.rows - counted),
    )
