"""Fixtures: a registry, labels, and a warehouse with one published night."""

from __future__ import annotations

from pathlib import Path

import kit
import pytest
from cli_kit import MODEL, CliResult, documents, tlnlp
from pyspark.sql import SparkSession

from tlnlp.registry import Registry


@pytest.fixture(scope="session")
def registry(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry of ``MODEL`` with two versions, the first of them the champion. Tests read it and do not change it."""
    folder = tmp_path_factory.mktemp("cli") / "registry"
    made = Registry(str(folder))
    made.publish(MODEL, tiny_bundle)
    made.publish(MODEL, tiny_bundle)
    made.set_champion(MODEL, 1, expected=None, by="ada", reason="first")
    return folder


@pytest.fixture(scope="session")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Labels that no version was trained on."""
    return kit.write_jsonl(tmp_path_factory.mktemp("cli") / "labels.jsonl", kit.labelled(300, seed=9))


@pytest.fixture(scope="session")
def scored(spark: SparkSession, registry: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, CliResult]:
    """A folder with ``documents.jsonl`` and a warehouse of their scores, and the result of the command."""
    folder = tmp_path_factory.mktemp("cli") / "night"
    source = kit.write_jsonl(folder / "documents.jsonl", documents(10))
    settings = {"documents": source, "warehouse": folder / "warehouse", "registry": registry, "model": MODEL}
    return folder, tlnlp("score", "--json", score_date="2026-11-23", keep_columns="item", **settings)
