from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import kit
import pytest

from tlnlp import environment

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

environment.apply_defaults()


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return kit.make_encoder(tmp_path_factory.mktemp("encoder") / "tiny")


@pytest.fixture(scope="session")
def tiny_bundle(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return kit.make_bundle(tiny_encoder, tmp_path_factory.mktemp("bundle") / "two")


@pytest.fixture(scope="session")
def worker_tmp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The temporary folder of Spark's Python workers, where they lay bundles."""
    return tmp_path_factory.mktemp("workers")


@pytest.fixture(scope="session")
def spark(worker_tmp: Path) -> Iterator[SparkSession]:
    """The one Spark session of this process: Spark has no second beside it."""
    from tlnlp.score.session import spark_session

    before = os.environ.get("TMPDIR")
    os.environ["TMPDIR"] = str(worker_tmp)  # Spark's processes inherit it; this one has looked it up already.
    try:
        with spark_session(kit.SPARK, 2048) as session:
            yield session
    finally:
        os.environ.pop("TMPDIR")
        if before is not None:
            os.environ["TMPDIR"] = before
