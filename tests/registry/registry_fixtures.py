"""Fixtures of the tests of the registry."""

from __future__ import annotations

from pathlib import Path

import pytest
from registry_kit import Clock, make_bundle

from tlnlp.registry import Registry


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(str(tmp_path / "registry"), now=Clock())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "bundle")
