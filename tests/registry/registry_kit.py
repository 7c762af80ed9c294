"""Provide a small bundle, a clock and shorthand for the tests of the registry."""

from __future__ import annotations

import json
import shutil
import tempfile
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import kit

from tlnlp.model import bundle
from tlnlp.registry import Champion, Registry

MOMENT = datetime(2026, 11, 23, 23, 1, 2, tzinfo=UTC)


class Clock:
    """Return a time one minute later at every call."""

    def __init__(self) -> None:
        self.looks = 0

    def __call__(self) -> datetime:
        self.looks += 1
        return MOMENT + timedelta(minutes=self.looks)


@cache
def sound_bundle() -> tempfile.TemporaryDirectory[str]:
    """Make a sound bundle once; its folder is removed when the process ends."""
    folder = tempfile.TemporaryDirectory(prefix="registry-")
    kit.make_bundle(kit.make_encoder(Path(folder.name) / "encoder"), Path(folder.name) / "bundle")
    return folder


def make_bundle(folder: Path, content: str = "labels", extra: dict[str, Any] | None = None) -> Path:
    """Copy a sound bundle; ``content`` stands in its ``training.json``, ``extra`` files only in its manifest."""
    shutil.copytree(Path(sound_bundle().name) / "bundle", folder)
    (folder / "training.json").write_text(json.dumps({"text_sha256": [content]}))
    bundle.seal(folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"] |= extra or {}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def promote(registry: Registry, version: int, reason: str = "better", forced: bool = False) -> Champion:
    before = registry.champion("m")
    expected = before.tag if before else None
    return registry.set_champion("m", version, expected=expected, by="ada", reason=reason, forced=forced)
