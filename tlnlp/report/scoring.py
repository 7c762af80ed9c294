"""Describe in sentences how a version scores, how fast, and what that changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tlnlp.errors import counted
from tlnlp.report.sentences import points

Report = Mapping[str, Any]


def scoring(report: Report) -> list[str]:
    """Describe engines and cascades as they were measured when the version was made; empty without such figures."""
    found = report.get("scoring") or {}
    if not found.get("engines"):
        return []
    first, *others = found["engines"]
    reference = (
        f"The engine {first['engine']}, the reference, read {counted(first['texts'], 'text')} at "
        f"{first['documents_per_s']:,.0f} a second on the machine that made the version."
    )
    engines = [_engine(one, first["documents_per_s"]) for one in others]
    cascades = [_cascade(name, test) for name, test in (found.get("cascade") or {}).items()]
    return [f"The version scores as {found['profile']}.", reference, *engines, *cascades]


def _engine(one: Report, reference: float) -> str:
    times = one["documents_per_s"] / max(reference, 1e-9)
    bound, lost = one["changed_share_bound"], one.get("expected_loss", 0.0)
    sentence = (
        f"{one['engine']} read them at {one['documents_per_s']:,.0f} a second, {times:.1f} times as fast. It changed "
        f"{counted(one['changed'], 'label')} (with 95% confidence, at most {bound:.1%} of all), which is expected to "
        f"cost {lost * 100:.2f} points of accuracy. It moved the largest probability of a text by "
        f"{one['mean_difference']:.4f} on average, by {one['largest_difference']:.3f} at most."
    )
    return sentence + (f" It does not score: {one['refused']}." if one.get("refused") else "")


def _cascade(name: str, test: Report) -> str:
    student = f" and {test['student_share']:.0%} to the student" if test.get("student_share") else ""
    return (
        f"The cascade {name} leaves {test['settled_share']:.0%} of the documents to the n-gram view{student}. Of "
        f"{test['tested']:,} documents that nothing had learned from, {test['changed']:,} got another label than from "
        f"both views; with 95% confidence, at most {test['limit']:.1%} of all documents do. That costs "
        f"{points(test['bound'])} of accuracy at most; by the probabilities, "
        f"{test['expected_accuracy_cost'] * 100:.2f} points are expected."
    )
