"""Read JSON that another program may have written: of bounded size and depth, with each key once."""

from __future__ import annotations

import json
from typing import Any

from tlnlp.errors import BundleError

# Deepest nesting of lists and objects. What tlnlp and transformers write is at most ten deep.
MOST_DEPTH = 64
# Largest file of JSON, in bytes; ``training.json`` may hold the digests of millions of documents.
LIMIT_BYTES = 16 << 20
LARGE_LIMIT_BYTES = 256 << 20
AGAIN = "fetch the bundle from the registry again, or use another version"


def parse_json(data: bytes, where: str, limit_bytes: int = LIMIT_BYTES) -> Any:
    """Parse JSON in UTF-8.

    Args:
        where: the file, for the message.

    Raises:
        BundleError: the data is too large or too deep, no JSON, or an object in it has a key twice.
    """
    check_size(len(data), where, limit_bytes)
    try:
        value = json.loads(data, object_pairs_hook=_with_each_key_once)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{where}: no readable JSON ({type(error).__name__}); {AGAIN}") from error
    layer = [value]
    for _ in range(MOST_DEPTH):
        layer = [inner for outer in layer for inner in _inside(outer) if isinstance(inner, (dict, list))]
        if not layer:
            return value
    raise BundleError(f"{where}: nested deeper than {MOST_DEPTH} lists and objects; {AGAIN}")


def parse_object(data: bytes, where: str, limit_bytes: int = LIMIT_BYTES) -> dict[str, Any]:
    """Parse a JSON object; see ``parse_json``."""
    value = parse_json(data, where, limit_bytes)
    if not isinstance(value, dict):
        raise BundleError(f"{where}: holds {shown(value)} in place of a JSON object; {AGAIN}")
    return value


def check_size(size_bytes: int, where: str, limit_bytes: int) -> None:
    """Check the size of a file before it is read. Raises BundleError."""
    if size_bytes > limit_bytes:
        raise BundleError(f"{where}: {size_bytes:,} bytes are too large, at most {limit_bytes:,} are read; {AGAIN}")


def shown(value: object) -> str:
    """Return a value for a message, cut to 80 characters."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _inside(value: object) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _with_each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a key stands twice")
    return values
