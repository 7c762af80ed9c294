"""Build the view ``history``: one row for each snapshot of a table, from the summary that publishing wrote."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

import pyarrow as pa
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot, ancestors_of

from tlnlp.warehouse.published_runs import published_runs
from tlnlp.warehouse.schema import scores_name
from tlnlp.warehouse.tables import PREFIX, is_maintenance, summary_of

COUNTS = ("rows_in", "rows_scored", "rows_reused", "rows_duplicate", "rows_quarantined")


def history_schema() -> pa.Schema:
    """Return the columns of ``history``. Counts are null where a snapshot's summary lacks them.

    ``current`` is true for one snapshot of each table and score_date: the last that published that day. In a quarantine
    it is the last of the run that published the scores of the day. A snapshot that publishing did not make has no
    score_date; it is current if it is the newest of its table.
    """
    return pa.schema(
        [
            ("table", pa.string()),
            ("snapshot_id", pa.int64()),
            ("committed_at", pa.timestamp("ms", tz="UTC")),
            ("operation", pa.string()),
            ("score_date", pa.date32()),
            ("run_id", pa.string()),
            ("model", pa.string()),
            ("model_version", pa.int64()),
            *((count, pa.int64()) for count in COUNTS),
            ("current", pa.bool_()),
        ]
    )


def history_table(tables: Mapping[str, Table]) -> pa.Table:
    """Return one row for each snapshot of the tables (by name), oldest first within a table."""
    rows = [
        _row(name, snapshot, current=snapshot.snapshot_id in current_ids)
        for name, table in tables.items()
        for current_ids in [_current_snapshots(table, tables.get(scores_name(name) or ""))]
        for snapshot in sorted(table.snapshots(), key=lambda snapshot: snapshot.timestamp_ms)
    ]
    return pa.Table.from_pylist(rows, schema=history_schema())


def _current_snapshots(table: Table, scores: Table | None) -> set[int]:
    """Return the ids of the snapshots that were the last to publish their day, for a quarantine beside its scores."""
    newest: dict[str | None, int] = {}
    published = published_runs(scores) if scores else None
    for age, snapshot in enumerate(ancestors_of(table.current_snapshot(), table.metadata)):
        summary = summary_of(snapshot)
        day, run = summary.get(f"{PREFIX}score-date"), summary.get(f"{PREFIX}run-id")
        if published and day and not published.includes(date.fromisoformat(day), run):
            continue
        if day is not None or (age == 0 and not is_maintenance(snapshot)):
            newest.setdefault(day, snapshot.snapshot_id)
    return set(newest.values())


def _row(table: str, snapshot: Snapshot, *, current: bool) -> dict[str, Any]:
    summary = summary_of(snapshot)

    def text(key: str) -> str | None:
        """Return what the summary says; None if it says nothing."""
        return summary.get(PREFIX + key.replace("_", "-"))

    def whole(key: str) -> int | None:
        """Return a count of the summary; None if it is none."""
        found = text(key)
        return int(found) if found is not None and found.isdecimal() else None

    day = text("score_date")
    return {
        "table": table,
        "snapshot_id": snapshot.snapshot_id,
        "committed_at": snapshot.timestamp_ms,
        "operation": snapshot.summary.operation.value if snapshot.summary else None,
        "score_date": date.fromisoformat(day) if day else None,
        "run_id": text("run_id"),
        "model": text("model"),
        "model_version": whole("model_version"),
        **{count: whole(count) for count in COUNTS},
        "current": current,
    }
