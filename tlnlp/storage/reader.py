"""Read a stored object as a file: in pieces, from any place."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from obstore import ReadableFile


class StoredFile(io.RawIOBase):
    """A stored object, opened for reading. It holds one buffer of the object in memory.

    Args:
        reader: the library's reader of the object.
        translated: turns the library's errors into ours.
    """

    def __init__(self, reader: ReadableFile, translated: Callable[[], AbstractContextManager[None]]) -> None:
        self._reader, self._translated = reader, translated

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Fill the buffer from the present place; return the number of bytes, 0 at the end."""
        with self._translated():
            data = self._reader.read(len(buffer))
        buffer[: len(data)] = bytes(data)
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move to a place, as ``io.IOBase.seek`` does."""
        with self._translated():
            return self._reader.seek(offset, whence)

    def tell(self) -> int:
        """Return the present place."""
        return self._reader.tell()
