"""What Ray's processes beside the workers of a job load: nothing heavy, as each starts anew for every job."""

from __future__ import annotations

from typing import Any


class Progress:
    """The actor that workers tell where they are."""

    def __init__(self) -> None:
        self._losses: dict[int, float] = {}
        self._resumed: list[int] = []

    def update(self, step: int, loss: float) -> None:
        self._losses[step] = loss

    def resume(self, step: int) -> None:
        self._resumed.append(step)

    def get(self) -> tuple[list[tuple[int, float]], list[int]]:
        """The losses reported so far, by step, and the steps that the fit was resumed at."""
        return list(self._losses.items()), self._resumed


def train_worker(config: dict[str, Any]) -> None:
    """Entry point of a worker; the controller of the job, which only hands it on, loads no encoder for it."""
    from tlnlp.train.distributed import worker

    worker.train_worker(config)
