"""Fixtures of warehouses in temporary folders."""

from __future__ import annotations

from pathlib import Path

import pytest
from odd_ids import odd_warehouse


@pytest.fixture
def warehouse(tmp_path: Path) -> Path:
    # The name holds a space, because addresses must work without percent-encoding.
    return tmp_path / "ware house"


@pytest.fixture(scope="session")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A warehouse of documents with odd ids."""
    return odd_warehouse(tmp_path_factory.mktemp("odd") / "warehouse")
