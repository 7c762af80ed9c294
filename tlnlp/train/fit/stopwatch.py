"""Measure how many steps per second a fit makes."""

from __future__ import annotations

import time


class Stopwatch:
    """Measure steps per second. The first quarter of the steps is left out, since one-time set-up slows it down."""

    def __init__(self) -> None:
        self._times = [time.monotonic()]

    def record_step(self) -> None:
        """Record the end of a step."""
        self._times.append(time.monotonic())

    @property
    def steps_per_s(self) -> float:
        """Return steps per second; 0 before the first step has ended."""
        steps = len(self._times) - 1
        first = steps // 4
        return (steps - first) / max(1e-6, self._times[-1] - self._times[first])
