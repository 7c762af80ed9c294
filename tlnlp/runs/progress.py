"""Log the progress of long work, and show it on stderr where a command asks for it.

The library only logs, at level INFO under the logger ``tlnlp``. A command shows these lines on stderr, and on a
terminal a bar in place of repeated lines (``shown_on_stderr``). Another program hears nothing unless it configures
logging.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from tlnlp.errors import masked
from tlnlp.runs.console import visible_lines

LINE_EVERY_S = 10.0
LIBRARY = logging.getLogger("tlnlp")
LIBRARY.addHandler(logging.NullHandler())
_PROGRESS = logging.getLogger("tlnlp.progress")


def say(message: str) -> None:
    """Log a line about what was done, for the person who waits for it."""
    _PROGRESS.info("%s", masked(message))


class _Stderr(logging.Handler):
    """Print plain lines on what ``sys.stderr`` is at that moment: a bar replaces it while it is on the screen."""

    def emit(self, record: logging.LogRecord) -> None:
        print(visible_lines(masked(self.format(record))), file=sys.stderr, flush=True)


@contextmanager
def shown_on_stderr() -> Iterator[None]:
    """Show what the library logs on stderr while the block runs, as every command does. Blocks may be nested."""
    if _is_shown():
        yield
        return
    handler, level, propagate = _Stderr(logging.INFO), LIBRARY.level, LIBRARY.propagate
    LIBRARY.addHandler(handler)
    LIBRARY.setLevel(logging.INFO)
    LIBRARY.propagate = False  # Engines add handlers to the root logger, which would print each line again.
    try:
        yield
    finally:
        LIBRARY.removeHandler(handler)
        LIBRARY.setLevel(level)
        LIBRARY.propagate = propagate


def _is_shown() -> bool:
    return any(isinstance(handler, _Stderr) for handler in LIBRARY.handlers)


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
    if not (_is_shown() and sys.stderr.isatty()):
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
