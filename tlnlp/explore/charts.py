"""Place the bars of a histogram, for inline SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 600, 140


@dataclass(frozen=True)
class Bar:
    """A bar: its place and size in a picture of ``WIDTH`` by ``HEIGHT``, its bin from ``low`` to ``high``, its rows."""

    x: float
    y: float
    width: float
    height: float
    low: float
    high: float
    rows: int


def histogram(counts: Sequence[int]) -> list[Bar]:
    """Return the bars of counts in bins of the same width from 0 to 1; the highest fills the picture."""
    highest, step = max([*counts, 1]), WIDTH / max(len(counts), 1)
    bars = []
    for place, rows in enumerate(counts):
        height = round(HEIGHT * rows / highest, 1)
        # A bin with a few rows among millions is seen all the same.
        height = max(height, 1.0) if rows else 0.0
        low, high = place / len(counts), (place + 1) / len(counts)
        bars.append(Bar(round(place * step + 1, 1), HEIGHT - height, round(step - 2, 1), height, low, high, rows))
    return bars
