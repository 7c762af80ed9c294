"""Fixture of a warehouse in a temporary folder."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def warehouse(tmp_path: Path) -> Path:
    # The name holds a space, because addresses must work without percent-encoding.
    return tmp_path / "ware house"
