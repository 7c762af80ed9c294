"""Run a query in a thread of its own, so that Ctrl-C, a deadline or a memory limit can stop it.

While DuckDB computes, the thread that called it handles no signal. So the caller waits here for one item after the
other, and stops the query with DuckDB's interrupt, which another thread may call.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from tlnlp.errors import UsageError

THREAD = "tlnlp-query"
"""Name of the thread. DuckDB heeds no interrupt inside one call of a function on one value, so it may outlive its
query; a process ends with it all the same (see ``tlnlp.cli.entry.leave``)."""

_POLL_S = 0.1
_AHEAD = 2  # Batches that wait for a slow reader.
_STOP_S = 0.6
# DuckDB counts its own buffers only. The row groups that are read, and long texts, come on top.
_BESIDE_BYTES = 512 << 20


@dataclass(frozen=True)
class Limits:
    """What a query may use.

    Fields:
        timeout_s: seconds that the reader waits for rows, all waits together; the reader's own time does not count.
        memory_bytes: memory of DuckDB; what does not fit is spilled to disk, where that is possible.
    """

    timeout_s: float = 600.0
    memory_bytes: int = 4_000_000_000


class Interruptible(Protocol):
    """A connection whose running query another thread may stop."""

    def interrupt(self) -> None:
        """Stop the query that runs now, if any does."""
        ...


Hold = Callable[[Interruptible | None], None]
Answer = Callable[[Hold], Generator[Any, None, None]]


@dataclass(frozen=True)
class _Failed:
    error: BaseException


_END = object()


class QueryWorker:
    """The items that a generator yields in another thread, read by this one; a context manager, read once.

    Args:
        answer: returns the generator. It passes its connection to the function that it is given, and None before it
            closes the connection.
        limits: what the query may use.
    """

    def __init__(self, answer: Answer, limits: Limits) -> None:
        self._answer, self._limits = answer, limits
        self._items: queue.Queue[Any] = queue.Queue(_AHEAD)
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._connection: Interruptible | None = None
        self._thread = threading.Thread(target=self._run, name=THREAD, daemon=True)
        self._waited_s, self._resident_bytes = 0.0, _resident_bytes()

    def __enter__(self) -> QueryWorker:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stopped.set()
        until = time.monotonic() + _STOP_S
        # An interrupt that comes before DuckDB starts to compute is lost, so it is repeated.
        while self._thread.is_alive() and time.monotonic() < until:
            with self._lock:
                if self._connection is not None:
                    self._connection.interrupt()
            self._thread.join(0.02)

    def __iter__(self) -> Iterator[Any]:
        """Yield the items.

        Raises:
            UsageError: the query exceeded a limit; the message names the key.
            BaseException: what the generator raised.
        """
        while (item := self._next()) is not _END:
            if isinstance(item, _Failed):
                raise item.error
            yield item

    def _next(self) -> Any:
        while True:
            began = time.monotonic()
            try:
                return self._items.get(timeout=_POLL_S)
            except queue.Empty:
                self._check_limits()
            finally:
                self._waited_s += time.monotonic() - began

    def _check_limits(self) -> None:
        if self._waited_s > self._limits.timeout_s:
            raise UsageError(
                f"query: it took more than {self._limits.timeout_s:g} s and was stopped; read fewer days or columns, "
                "or raise timeout_s"
            )
        beside = max(_BESIDE_BYTES, self._limits.memory_bytes // 4)
        if _resident_bytes() > self._resident_bytes + self._limits.memory_bytes + beside:
            raise over_memory(self._limits)

    def _run(self) -> None:
        items = self._answer(self._hold)
        try:
            for item in items:
                self._put(item)
                if self._stopped.is_set():
                    return
            self._put(_END)
        except BaseException as error:  # The reader raises it, whatever it is.
            self._put(_Failed(error))
        finally:
            items.close()

    def _hold(self, connection: Interruptible | None) -> None:
        with self._lock:
            self._connection = connection

    def _put(self, item: Any) -> None:
        while not self._stopped.is_set():
            with suppress(queue.Full):
                self._items.put(item, timeout=_POLL_S)
                return


def over_memory(limits: Limits) -> UsageError:
    """Return the error of a query that needs more memory than it may use."""
    return UsageError(
        f"query: it needs more memory than {limits.memory_bytes / 1e9:g} GB and was stopped; read fewer rows or "
        "columns, or raise memory_limit"
    )


def _resident_bytes() -> int:
    """Return the memory that this process occupies now; 0 where the system does not say."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0
    found = [line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")]
    return int(found[0]) * 1024 if found else 0
