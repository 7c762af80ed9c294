"""The code that Ray loads in the actor and in the controller of a job.

Ray starts both processes anew for every job, so this module imports nothing heavy.
"""

from __future__ import annotations

from typing import Any


class Progress:
    """Collect the progress that the workers of a job report, for the driver to read. Runs as a Ray actor."""

    def __init__(self) -> None:
        self._losses: dict[int, float] = {}
        self._resumed: list[int] = []

    def update(self, step: int, loss: float) -> None:
        """Record the mean training loss that was reported at a step."""
        self._losses[step] = loss

    def resume(self, step: int) -> None:
        """Record that the workers resumed from a checkpoint of this step."""
        self._resumed.append(step)

    def get(self) -> tuple[list[tuple[int, float]], list[int]]:
        """Return the reported pairs of step and loss, and the steps from which the workers resumed."""
        return list(self._losses.items()), self._resumed


def train_worker(config: dict[str, Any]) -> None:
    """Run a worker. The import is inside, since the controller only passes this function on and needs no torch."""
    from tlnlp.train.distributed import worker

    worker.train_worker(config)
