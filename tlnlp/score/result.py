"""The result of a night: its row counts, and the values that the caller gets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tlnlp.registry import ModelVersion
from tlnlp.score import contract
from tlnlp.score.staging import PreparedRows


@dataclass(frozen=True)
class Counts:
    """Row counts of a night.

    ``rows_in`` is the sum of ``rows_scored``, ``rows_reused``, ``rows_duplicate`` and ``rows_quarantined``.
    ``rows_unchanged`` is the part of ``rows_reused`` that is not copied, because the incremental mode leaves out
    unchanged documents. ``texts_scored`` is the number of distinct texts in ``rows_scored``.
    """

    rows_in: int
    rows_scored: int
    rows_reused: int
    rows_duplicate: int
    rows_quarantined: int
    rows_unchanged: int
    texts_scored: int

    @staticmethod
    def of(prepared: PreparedRows, texts_scored: int, unread: int = 0) -> Counts:
        """Return the counts of the prepared rows; ``unread``: of those to be scored, how many went to quarantine."""
        unchanged = prepared.count(contract.UNCHANGED)
        return Counts(
            rows_in=prepared.total,
            rows_scored=prepared.count(contract.SCORE) - unread,
            rows_reused=prepared.count(contract.REUSED) + unchanged,
            rows_duplicate=prepared.count(contract.DUPLICATE),
            rows_quarantined=prepared.count(contract.QUARANTINED) + unread,
            rows_unchanged=unchanged,
            texts_scored=texts_scored,
        )

    @property
    def rows_published(self) -> int:
        """Return the number of rows that the table gets."""
        return self.rows_scored + self.rows_reused - self.rows_unchanged

    def to_json(self) -> dict[str, int]:
        """Return the counts by name."""
        return dict(vars(self))


@dataclass(frozen=True)
class ScoreResult:
    """The result of a published night.

    ``documents_per_s``: scored rows per second of wall-clock time while scoring. ``seconds``: wall-clock time of the
    night. ``peak_worker_bytes``: largest resident set of a Python worker. ``cost``: the ledger's, None without a price.
    ``kept_values_nulled``: how many kept values did not fit the type of their column and became null. ``drift``: the
    names of the statistics in which the night differs from its reference.
    """

    run_id: str
    model: ModelVersion
    table: str
    score_date: str
    snapshot_id: int
    counts: Counts
    documents_per_s: float
    seconds: float
    peak_worker_bytes: int
    cost: dict[str, object] | None = None
    kept_values_nulled: int = 0
    drift: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the values that ``tlnlp score --json`` prints."""
        return {
            "run_id": self.run_id,
            "model": self.model.name,
            "model_version": self.model.version,
            "table": self.table,
            "score_date": self.score_date,
            "snapshot_id": self.snapshot_id,
            **self.counts.to_json(),
            "rows_published": self.counts.rows_published,
            "kept_values_nulled": self.kept_values_nulled,
            "documents_per_s": round(self.documents_per_s, 1),
            "seconds": round(self.seconds, 1),
            "peak_worker_bytes": self.peak_worker_bytes,
            "drift": list(self.drift),
            "usd": self.cost["usd"] if self.cost else None,
        }

    def facts(self) -> dict[str, Any]:
        """Return the values that a terminal shows: ``rows_reused`` says which of its rows the day does not hold."""
        facts, counts = self.to_json(), self.counts
        if not self.drift:
            facts.pop("drift")
        if unchanged := facts.pop("rows_unchanged"):
            copied = counts.rows_reused - unchanged
            where = "unchanged since an earlier day, which keeps them"
            facts["rows_reused"] = f"{counts.rows_reused} ({copied} copied into this day, {unchanged} {where})"
        return facts
