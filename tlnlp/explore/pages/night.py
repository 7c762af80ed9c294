"""The page of a night: what it scored, how sure it was, and how it differs from the nights before."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from tlnlp.errors import StorageError, UsageError
from tlnlp.explore.charts import histogram
from tlnlp.explore.explorer import Explorer
from tlnlp.explore.night_figures import NightFigures, night_figures, quarantine_counts
from tlnlp.explore.pages.page import Page, Values
from tlnlp.explore.params import Params
from tlnlp.explore.run_ledgers import drift_of
from tlnlp.labelling.accuracy_estimate import AccuracyEstimate, estimate
from tlnlp.labelling.answers import Answers
from tlnlp.labelling.queue_file import QueueFile
from tlnlp.warehouse.nights import Night, ScoresTable

LABELS_SHOWN = 100
NIGHTS_SHOWN = 8
# Nights before the last one are counted for so long; a page that is opened again goes on with the others.
_EARLIER_S = 2.0


@dataclass(frozen=True)
class LabelRow:
    """A label of a night: its rows, their share, and the change of the share in points (None: no night before)."""

    label: str
    rows: int
    share: float
    change: float | None
    mean_score: float | None


def values(explorer: Explorer, params: Params) -> Values:
    """Return the values of the page. Parameter: ``date``."""
    table = explorer.table()
    night = explorer.night(table, params.day("date"))
    if night is table.night():
        explorer.copy_in_background(table, night)
    return night_values(explorer, table, night, _EARLIER_S)


def night_values(explorer: Explorer, table: ScoresTable, night: Night, earlier_s: float) -> Values:
    """Return the values of the page of a night.

    Args:
        earlier_s: the seconds in which earlier nights are counted, about.
    """
    figures = night_figures(explorer, table, night)
    last = table.before(night)
    before = night_figures(explorer, table, last) if last else None
    rows = label_rows(figures, before)
    return {
        "night": night,
        "last": last,
        "next": next((one for one in reversed(table.nights) if one.day > night.day), None),
        "figures": figures,
        "before": before,
        "labels": rows[:LABELS_SHOWN],
        "labels_left": max(0, len(rows) - LABELS_SHOWN),
        "bars": histogram(figures.histogram),
        "stages": _stages(figures, before),
        "drift": drift_of(explorer, night.run_id),
        "estimate": _estimate(explorer, table.model, night.model_version),
        "quarantine": _with_changes(explorer, table, night, last),
        "earlier": _earlier(explorer, table, night, earlier_s),
        "shown_labels": [row.label for row in rows[:6]],
    }


def label_rows(figures: NightFigures, before: NightFigures | None) -> list[LabelRow]:
    """Return a row for each label of a night or of the night before, the most frequent first."""
    rows = [
        LabelRow(one.label, one.rows, figures.share(one.label), _change(figures, before, one.label), one.mean_score)
        for one in figures.labels
    ]
    known = {one.label for one in figures.labels}
    gone = [one.label for one in before.labels if one.label not in known] if before else []
    return rows + [LabelRow(label, 0, 0.0, _change(figures, before, label), None) for label in gone]


def _change(figures: NightFigures, before: NightFigures | None, label: str) -> float | None:
    return figures.share(label) - before.share(label) if before is not None and before.rows else None


def _stages(figures: NightFigures, before: NightFigures | None) -> list[dict[str, Any]]:
    last = dict(before.stages) if before is not None and before.rows else None
    return [
        {
            "name": name,
            "rows": n,
            "share": n / max(figures.rows, 1),
            "before": last.get(name, 0) / before.rows if last is not None and before is not None else None,
        }
        for name, n in figures.stages
    ]


def _estimate(explorer: Explorer, model: str, version: int | None) -> AccuracyEstimate | None:
    """Return how often a version is right by people's labels of random documents; None where that is unknown."""
    settings = explorer.settings
    try:
        queue = QueueFile(settings.queue, settings.table).read()
        if queue is None or (queue.model, queue.model_version) != (model, version):
            return None
        return estimate(Answers(settings.labels, settings.text_column, settings.label_column).read(), queue)
    except (StorageError, UsageError):
        return None


def _with_changes(
    explorer: Explorer, table: ScoresTable, night: Night, last: Night | None
) -> list[tuple[str, int, int | None]]:
    """Return reason, rows of this night and rows of the night before (None: there is none)."""
    now = quarantine_counts(explorer, table, night)
    before = dict(quarantine_counts(explorer, table, last)) if last else {}
    gone = [(reason, 0) for reason in before if reason not in dict(now)]
    return [(reason, n, before.get(reason, 0) if last else None) for reason, n in [*now, *gone]]


def _earlier(
    explorer: Explorer, table: ScoresTable, night: Night, seconds: float
) -> list[tuple[Night, NightFigures | None]]:
    """Return this night and those before it, each with its figures; None where there was no time to count them."""
    until, found = time.monotonic() + seconds, list[tuple[Night, NightFigures | None]]()
    for one in [one for one in table.nights if one.day <= night.day][:NIGHTS_SHOWN]:
        in_time = len(found) < 2 or time.monotonic() < until
        known: NightFigures | None = explorer.known(("night", one.token))
        found.append((one, night_figures(explorer, table, one) if in_time else known))
    return found


PAGE = Page("/night", "Night", "night.html.jinja", values)
