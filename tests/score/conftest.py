"""Registries with a champion, and warehouses."""

from __future__ import annotations

from pathlib import Path

import kit
import pytest
from score_kit import MODEL

from tlnlp.registry import Registry


@pytest.fixture(scope="session")
def registry(tiny_bundle: Path, tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``MODEL`` with two versions, the first of them champion, and a model ``other``."""
    folder = tmp_path_factory.mktemp("registry")
    second = kit.make_bundle(tiny_encoder, tmp_path_factory.mktemp("bundle") / "second", seed=5)
    registry = Registry(str(folder))
    registry.publish(MODEL, tiny_bundle)
    registry.publish(MODEL, second)
    registry.publish("other", tiny_bundle)
    for name in (MODEL, "other"):
        registry.set_champion(name, 1, expected=None, by="ada", reason="first")
    return folder


@pytest.fixture
def warehouse(tmp_path: Path) -> Path:
    # Its name holds what engines read as patterns or escapes: it must work as it is.
    return tmp_path / "ware [1] house"
