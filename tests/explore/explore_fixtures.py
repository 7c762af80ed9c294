"""A warehouse with three nights, made once."""

from __future__ import annotations

from pathlib import Path

import pytest
from explore_kit import three_nights


@pytest.fixture(scope="session")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A warehouse of 3 nights of 120 documents. Tests read it and do not change it."""
    return three_nights(tmp_path_factory.mktemp("explore") / "ware house")
