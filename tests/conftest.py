from __future__ import annotations

from pathlib import Path

import kit
import pytest

from tlnlp import environment

environment.apply_defaults()


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return kit.make_encoder(tmp_path_factory.mktemp("encoder") / "tiny")


@pytest.fixture(scope="session")
def tiny_bundle(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return kit.make_bundle(tiny_encoder, tmp_path_factory.mktemp("bundle") / "two")
