"""Decode lines, and recognise by its first line a file whose encoding or format is not the one that was stated."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from tlnlp.errors import InputDataError

UTF8 = "utf-8"
# A file that begins with these bytes is no text.
_MAGIC = {
    b"PAR1": "Parquet; let its name end in .parquet, or set the format",
    b"\x1f\x8b": "compressed by gzip; let its name end in .gz",
    b"BZh": "compressed by bzip2; let its name end in .bz2",
    b"\x28\xb5\x2f\xfd": "compressed by zstd; let its name end in .zst",
    b"PK\x03\x04": "a zip archive or a workbook; unpack it, or save the sheet as CSV in UTF-8",
}
_HEAD_BYTES = 512
# Text in UTF-16 has a NUL in every other byte of an ASCII character; other text has none.
_NUL_SHARE = 0.2


def decode_line(line: bytes, encoding: str = UTF8) -> str:
    """Return a line as text. Bytes that the encoding does not know become unpaired surrogates.

    Source: PEP 383, ``surrogateescape``.
    """
    try:
        return line.decode(encoding, "surrogateescape")
    except UnicodeDecodeError:
        # In an encoding of several bytes, a byte below 128 may be a part of a wrong sequence.
        return line.decode("ascii", "surrogateescape")


def checked_lines(uri: str, lines: Iterator[bytes], format: str) -> Iterator[bytes]:
    """Yield the lines of a file from its start, after a look at the first one that is not blank.

    Raises:
        InputDataError: the file is not text in an encoding that can be read by lines, or JSON but not JSON Lines.
    """
    for line in lines:
        if line.strip():
            check_first_line(uri, line, format)
            yield line
            break
        yield line
    yield from lines


def check_first_line(uri: str, line: bytes, format: str) -> None:
    """Check the first line of a file that is not blank, in the format ``json`` or ``csv``.

    Raises:
        InputDataError: as for ``checked_lines``.
    """
    problem = _not_text(line[:_HEAD_BYTES])
    if problem is None and format == "json":
        problem = _not_json_lines(line)
    if problem is not None:
        raise InputDataError(f"{uri}: {problem}")


def _not_text(head: bytes) -> str | None:
    if found := next((what for magic, what in _MAGIC.items() if head.startswith(magic)), None):
        return f"the file is {found}"
    if not head.strip(b"\x00"):
        return "the file begins with NULs; it is damaged, write it again"
    by_bom = head.startswith((b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff"))
    nuls = max(head[0::2].count(0), head[1::2].count(0))
    if by_bom or (len(head) >= 4 and nuls > _NUL_SHARE * len(head)):
        wide = b"\x00\x00\x00" in head[1:8]
        name = "UTF-32" if wide else "UTF-16"
        return f"the file is in {name}, which cannot be read by lines; convert it: iconv -f {name} -t UTF-8"
    return None


def _not_json_lines(line: bytes) -> str | None:
    text = decode_line(line).removeprefix("\ufeff").strip()
    if text.startswith("["):
        try:
            values = json.loads(text)
        except (ValueError, RecursionError):
            values = [{}] if re.match(r"\[\s*(\{|$)", text) else []
        if any(isinstance(value, dict) for value in values):
            return "the file is one JSON array, not JSON Lines; write one object a line: jq -c '.[]'"
    if text == "{":
        return "its objects go over several lines, and JSON Lines has one object a line; write them so: jq -c ."
    return None
