"""Read what the ledger of a run says: its settings, and how its night differs from the reference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tlnlp.explore.explorer import Explorer
from tlnlp.labelling.night_documents import run_ledger

Values = Mapping[str, Any]
STATISTICS = {
    "label": "labels",
    "confidence": "scores",
    "stage": "stages",
    "length": "lengths of texts",
    "script": "scripts of texts",
    "unknown_words": "words that the model has never seen",
}


@dataclass(frozen=True)
class Drift:
    """How a night differs from an earlier one.

    Fields:
        reference: the day of that night.
        changes: a statistic in words, the share that has changed, and whether that is certain and matters.
    """

    reference: str
    changes: tuple[tuple[str, float, bool], ...]


def config_of(explorer: Explorer, run_id: str) -> Values:
    """Return the settings of a run; empty where its ledger is missing or damaged."""
    return _part(_ledger(explorer, run_id), "config")


def drift_of(explorer: Explorer, run_id: str | None) -> Drift | None:
    """Return how the night of a run differs from its reference; None without a reference or a sound ledger."""
    found = _part(_part(_ledger(explorer, run_id), "results"), "drift") if run_id else {}
    try:
        changes = tuple(
            (STATISTICS[one["statistic"]], float(one["change"]), one["has_changed"] is True)
            for one in found.get("changes", [])
        )
    except (TypeError, KeyError, ValueError):
        return None
    reference = found.get("reference")
    return Drift(reference, changes) if isinstance(reference, str) and changes else None


def _ledger(explorer: Explorer, run_id: str) -> Values:
    return explorer.once(("ledger", run_id), lambda: run_ledger(explorer.settings.warehouse, run_id), bool)


def _part(values: Values, name: str) -> Values:
    part = values.get(name)
    return part if isinstance(part, dict) else {}
