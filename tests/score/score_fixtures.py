"""Fixtures of the scoring tests: a registry with champions, and an empty warehouse."""

from __future__ import annotations

from pathlib import Path

import kit
import pytest
from score_kit import MODEL

from tlnlp.registry import Registry


@pytest.fixture(scope="session")
def registry(tiny_bundle: Path, tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a registry with two versions of ``MODEL``, of which version 1 is champion, and a model ``other``."""
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
    """Return the path of a warehouse that does not exist yet."""
    # The name holds characters that engines may read as patterns or escapes.
    return tmp_path / "ware [1] house"
