"""Change an object that several writers change at the same time, without losing a change."""

from __future__ import annotations

from collections.abc import Callable

from tlnlp.errors import NotFoundError, StorageError
from tlnlp.storage.store import Storage

_TRIES = 100


def update(storage: Storage, key: str, change: Callable[[bytes | None], bytes | None]) -> None:
    """Replace an object by what ``change`` makes of it.

    Args:
        change: gets the data, None where there is no object, and returns the new data, None for no change. It is called
            again where another writer was first; it must give the same result if its own change was stored already.

    Raises:
        StorageError: the store failed, or others wrote all the time.
    """
    for _ in range(_TRIES):
        try:
            found = storage.read_tagged(key)
        except NotFoundError:
            after = change(None)
            if after is None or storage.put_if_absent(key, after):
                return
            continue
        after = change(found.data)
        if after is None or after == found.data or storage.compare_and_swap(key, after, found.tag):
            return
    raise StorageError(f"{storage.url(key)}: others wrote to it {_TRIES} times in a row; try again")
