"""Compute a value once, also when several requests ask for it at the same time, and forget the oldest ones."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar, cast

T = TypeVar("T")


class OnceCache:
    """Values by key, at most ``most`` of them; the one that was not used for longest goes first.

    Args:
        most: how many values are kept.
        dropped: is called with each value that goes.
    """

    def __init__(self, most: int, dropped: Callable[[Any], object] = lambda value: None) -> None:
        self._most, self._dropped = most, dropped
        self._values: OrderedDict[Hashable, Any] = OrderedDict()
        self._locks: dict[Hashable, threading.Lock] = {}
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return the value of a key; the first call makes it, and others wait for it. An error is not kept."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return cast(T, self._values[key])
            making = self._locks.setdefault(key, threading.Lock())
        with making:
            with self._lock:
                if key in self._values:
                    return cast(T, self._values[key])
            try:
                value = make()
                with self._lock:
                    self._values[key] = value
                    while len(self._values) > self._most:
                        self._dropped(self._values.popitem(last=False)[1])
                return value
            finally:
                with self._lock:
                    self._locks.pop(key, None)

    def peek(self, key: Hashable) -> Any | None:
        """Return the value of a key if it is at hand, else None."""
        with self._lock:
            return self._values.get(key)

    def forget(self, key: Hashable) -> None:
        """Let the next call make the value of a key anew."""
        with self._lock:
            self._values.pop(key, None)
