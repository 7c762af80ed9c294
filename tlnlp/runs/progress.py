"""Show the progress of long work on stderr: a bar on a terminal, else a line every few seconds."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

LINE_EVERY_S = 10.0


def say(message: str) -> None:
    """Print one line on stderr."""
    print(message, file=sys.stderr, flush=True)


class Meter:
    """Display of the progress of one piece of work; created by ``meter``."""

    def __init__(self, what: str, total: int, bar: Progress | None) -> None:
        self._what, self._total, self._bar = what, total, bar
        self._task: TaskID | None = bar.add_task(what, total=total, note="") if bar is not None else None
        self._started = self._last_line = time.monotonic()
        self._last_done = -1

    def update(self, done: int, note: str = "") -> None:
        """Show that ``done`` units of the total are finished, with ``note`` beside them."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done, note=note)
            return
        now = time.monotonic()
        if done == self._last_done or (now - self._last_line < LINE_EVERY_S and done < self._total):
            return
        self._last_line, self._last_done = now, done
        say(f"{self._what}: {done}/{self._total} after {now - self._started:.0f} s{', ' + note if note else ''}")


@contextmanager
def meter(what: str, total: int) -> Iterator[Meter]:
    """Yield a display for ``total`` units of the work named ``what``."""
    if not sys.stderr.isatty():
        yield Meter(what, total, None)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total} {task.fields[note]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        yield Meter(what, total, bar)
