"""Repeat a call in a background thread while other work runs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

END_WAIT_S = 10.0


@contextmanager
def repeated(call: Callable[[], None], every_s: float) -> Iterator[None]:
    """Call ``call`` every ``every_s`` seconds while the block runs, and once more after it."""
    done = threading.Event()

    def run() -> None:
        ended = False
        while not ended:
            ended = done.wait(every_s)
            call()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(timeout=END_WAIT_S)
