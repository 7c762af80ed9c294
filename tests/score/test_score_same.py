"""The score of a text depends on the text and the model version alone."""

from __future__ import annotations

from pathlib import Path

import kit
import numpy as np
import pytest
from pyspark.sql import SparkSession
from score_kit import MODEL, SPARK, counts, night, positives, rows, write_parquet

from tlnlp.model.classifier import Classifier

N = 60


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """Return short texts and texts over the soft cap of 400 characters, with tags, punctuation and other scripts."""
    varied = kit.texts(N - 8, seed=3)
    varied += [" ".join(kit.texts(12, seed=9))[:length] for length in (399, 400, 401, 900)]
    return [*varied, "good", "bad<br /><br />boots\u00a0!", "パンは good, très bien \U0001f35e " * 20, "GOOD bread?!"]


@pytest.fixture(scope="module")
def alone(texts: list[str], tiny_bundle: Path) -> dict[str, float]:
    """Return the probability of ``positive`` of each text, read alone and without Spark."""
    classifier = Classifier.load(tiny_bundle, threads=1)
    positive = classifier.classes.index("positive")
    return {f"d{number}": float(classifier.predict([text])[0, positive]) for number, text in enumerate(texts)}


def test_the_texts_have_different_scores(alone: dict[str, float]) -> None:
    assert np.std(list(alone.values())) > 0.02


@pytest.mark.parametrize(
    ("files", "shuffle_partitions", "options"),
    [
        (1, 1, {}),
        (2, 7, {"chunk_rows": 25}),
        (7, 2, {"arrow_batch_rows": 3}),
    ],
)
def test_in_any_order_partition_and_batch(
    spark: SparkSession,
    texts: list[str],
    alone: dict[str, float],
    registry: Path,
    warehouse: Path,
    tmp_path: Path,
    files: int,
    shuffle_partitions: int,
    options: dict[str, int],
) -> None:
    documents = [{"id": f"d{number}", "text": text} for number, text in enumerate(texts)]
    order = np.random.default_rng(files).permutation(N) if files > 1 else np.arange(N)
    for part, numbers in enumerate(np.array_split(order, files)):
        write_parquet(tmp_path / "documents" / f"part-{part}.parquet", [documents[number] for number in numbers])
    engine = SPARK.model_copy(update={"shuffle_partitions": shuffle_partitions})
    result = night(tmp_path / "documents", warehouse, registry, spark=engine, **options)
    assert counts(result)["texts_scored"] == N
    scores = positives(warehouse)
    assert scores.keys() == alone.keys()
    assert scores == alone
    for row in rows(warehouse, "select label, score, probabilities, model, model_version from scores"):
        assert row["score"] == max(row["probabilities"].values()) == row["probabilities"][row["label"]]
        assert (row["model"], row["model_version"]) == (MODEL, 1)
    pieces = [path.name for path in (warehouse / "runs" / result.run_id).iterdir()]
    assert sum(name.startswith("scores-") for name in pieces) == (1 if "chunk_rows" not in options else 3)


def test_one_document_on_its_own(
    spark: SparkSession, texts: list[str], alone: dict[str, float], registry: Path, warehouse: Path, tmp_path: Path
) -> None:
    source = write_parquet(tmp_path / "one.parquet", [{"id": "d55", "text": texts[55]}])
    night(source, warehouse, registry)
    assert positives(warehouse) == {"d55": alone["d55"]}


def test_equal_texts_are_read_once_even_across_batches(
    spark: SparkSession, registry: Path, warehouse: Path, tmp_path: Path
) -> None:
    listed = [("good bread", 5), ("bad boots", 3), ("warm ferry", 1)]
    documents = [{"id": f"{text} {copy}", "text": text} for text, copies in listed for copy in range(copies)]
    source = write_parquet(tmp_path / "documents.parquet", documents)
    result = night(source, warehouse, registry, arrow_batch_rows=2)
    assert (result.counts.rows_scored, result.counts.texts_scored) == (9, 3)
    assert result.counts.rows_duplicate == 0
    scores = positives(warehouse)
    for text, copies in listed:
        assert len({scores[f"{text} {copy}"] for copy in range(copies)}) == 1
