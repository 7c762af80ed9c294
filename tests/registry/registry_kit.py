"""Provide a small bundle, a clock and shorthand for the tests of the registry."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tlnlp.registry import Champion, Registry

MOMENT = datetime(2026, 11, 23, 23, 1, 2, tzinfo=UTC)


class Clock:
    """Return a time one minute later at every call."""

    def __init__(self) -> None:
        self.looks = 0

    def __call__(self) -> datetime:
        self.looks += 1
        return MOMENT + timedelta(minutes=self.looks)


def make_bundle(folder: Path, content: str = "weights", extra: dict[str, Any] | None = None) -> Path:
    files = {"model.onnx": content.encode(), "bundle.json": b"{}", "parts/one.bin": b"\x00\x01"}
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    listed = {
        name: {"sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)} for name, data in files.items()
    }
    (folder / "manifest.json").write_text(json.dumps({"format": 1, "files": listed | (extra or {})}))
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def promote(registry: Registry, version: int, reason: str = "better", forced: bool = False) -> Champion:
    before = registry.champion("m")
    expected = before.tag if before else None
    return registry.set_champion("m", version, expected=expected, by="ada", reason=reason, forced=forced)
