"""Keep the labels that a version did not learn from: one JSON Lines file a version, beside the versions of its model.

A bundle does not hold them: it travels to every machine that scores, and these are texts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from tlnlp.registry.names import ModelVersion
from tlnlp.registry.registry import Registry


def write_held_out(registry: Registry, version: ModelVersion, rows: Iterable[Mapping[str, str]]) -> str:
    """Store the labels that a version did not learn from, and return their URI. Raises StorageError."""
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    registry.storage.write(_key(version), lines.encode())
    return registry.storage.url(_key(version))


def held_out_uri(registry: Registry, version: ModelVersion) -> str | None:
    """Return the URI of the labels that a version did not learn from; None if none were set aside."""
    return registry.storage.url(_key(version)) if registry.storage.exists(_key(version)) else None


def _key(version: ModelVersion) -> str:
    return f"{version.name}/held_out/{version.version}.jsonl"
