"""Read the lines of a file without holding the file in memory."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

BOM = b"\xef\xbb\xbf"
BLOCK_BYTES = 1 << 20
# A longer line is a fault of its file: it is far more likely that the file has another format.
LINE_BYTES = 256 << 20


class LineTooLongError(OSError):
    """A line has more than ``LINE_BYTES`` bytes."""


def read_lines(stream: Any, start: int = 0, end: int | None = None) -> Iterator[bytes]:
    r"""Yield the lines that begin between two places of a file, each with its ``\n``; a byte order mark is left out.

    Args:
        stream: an open binary file; where ``start`` is not 0, it can seek.
        start: the place in bytes from which on a line may begin.
        end: the place before which a line must begin. None: the end of the file.

    Raises:
        LineTooLongError: a line has more than ``LINE_BYTES`` bytes.
        OSError: the file is truncated, or not compressed as its name says.
    """
    place = start
    if start:
        stream.seek(start - 1)  # A line begins at ``start`` only if a line break stands before it.
        place = start - 1
    for number, line in enumerate(_all_lines(stream)):
        begins, place = place, place + len(line)
        if number == 0 and start:
            continue
        if end is not None and begins >= end:
            return
        yield line.removeprefix(BOM) if begins == 0 else line


def _all_lines(stream: Any) -> Iterator[bytes]:
    rest: list[bytes] = []  # The pieces of a line that goes on in the next block.
    while block := bytes(stream.read(BLOCK_BYTES)):
        first, *others = io.BytesIO(block).readlines()
        rest.append(first)
        if not first.endswith(b"\n"):
            if len(rest) * BLOCK_BYTES > LINE_BYTES:
                raise LineTooLongError(f"a line has more than {LINE_BYTES} bytes")
            continue
        yield b"".join(rest)
        rest = [others.pop()] if others and not others[-1].endswith(b"\n") else []
        yield from others
    if rest:
        yield b"".join(rest)
