"""How fast the steps of a fit go."""

from __future__ import annotations

import time


class Stopwatch:
    """How fast steps go once they are under way: the first quarter, slowed by what is done once, is left out."""

    def __init__(self) -> None:
        self._times = [time.monotonic()]

    def ended(self) -> None:
        """A step has."""
        self._times.append(time.monotonic())

    @property
    def rate(self) -> float:
        """Steps a second; 0 where there was none."""
        steps = len(self._times) - 1
        first = steps // 4
        return (steps - first) / max(1e-6, self._times[-1] - self._times[first])
