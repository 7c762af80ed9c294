"""One Spark session for all tests of scoring, and registries with a champion."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import kit
import pytest
from pyspark.sql import SparkSession
from score_kit import MODEL, SPARK

from tlnlp.registry import Registry
from tlnlp.score.session import spark_session


@pytest.fixture(scope="session")
def worker_tmp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The temporary folder of Spark's Python workers, where they lay bundles."""
    return tmp_path_factory.mktemp("workers")


@pytest.fixture(scope="session")
def spark(worker_tmp: Path) -> Iterator[SparkSession]:
    before = os.environ.get("TMPDIR")
    os.environ["TMPDIR"] = str(worker_tmp)  # Spark's processes inherit it; this one has looked it up already.
    try:
        with spark_session(SPARK, 2048) as session:
            yield session
    finally:
        os.environ.pop("TMPDIR")
        if before is not None:
            os.environ["TMPDIR"] = before


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
