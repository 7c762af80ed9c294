"""A warehouse in a temporary folder."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def warehouse(tmp_path: Path) -> Path:
    # With a space in its name: addresses are not percent-encoded anywhere, and must work as they are.
    return tmp_path / "ware house"
