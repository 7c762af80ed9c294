"""The whole path on real text by the command line, from 200 labels to a published day. The figures are printed.

Needs TLNLP_DATA: a folder with imdb, agnews and trec as Parquet (id, text, label), train and test.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from tlnlp.data.text import prepare
from tlnlp.model.classifier import Classifier
from tlnlp.model.ngram import fit_ngram

pytestmark = pytest.mark.acceptance
SEED = 11
DAY = "2026-01-31"
MAX_CHARS = 10_000
# The accuracy of so many texts has a 95 % interval of one point.
TEST_TEXTS = 4000


def data(name: str) -> Path:
    """Return a file of TLNLP_DATA; fail if it is missing."""
    folder = os.environ.get("TLNLP_DATA")
    if not folder or not Path(folder, name).exists():
        pytest.fail(f"set TLNLP_DATA to a folder that holds {name}")
    return Path(folder, name)


def tlnlp(*arguments: str, cwd: Path) -> Any:
    """Run a command with --json, and return its result. Its progress goes to the stderr of the tests."""
    command = [sys.executable, "-m", "tlnlp", *arguments, "--json"]
    done = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, text=True)
    assert done.returncode == 0, f"{arguments[0]} ended with {done.returncode}"
    return json.loads(done.stdout)


def draw_labels(name: str, folder: Path, per_class: int | None) -> pd.DataFrame:
    """Draw 200 labelled rows: ``per_class`` of each class; with None, at random but at least 5 of each class."""
    train = pq.read_table(data(f"{name}_train.parquet")).to_pandas().drop_duplicates("text")
    if per_class:
        drawn: pd.DataFrame = train.groupby("label").sample(per_class, random_state=SEED)
    else:
        floor = train.groupby("label").sample(5, random_state=SEED)
        drawn = pd.concat([floor, train.drop(floor.index).sample(200 - len(floor), random_state=SEED)])
    drawn.to_parquet(folder / "labels.parquet")
    return drawn


def accuracy_by_join(scores: list[dict[str, Any]], test: pd.DataFrame, train_texts: set[str]) -> tuple[float, float]:
    """Return the accuracy on every test row, and on the rows whose text occurs nowhere else."""
    joined = test.merge(pd.DataFrame(scores), left_on=test["id"].astype(str), right_on="document_id")
    assert len(joined) == len(test)
    hits = joined["label_x"] == joined["label_y"]
    times = Counter(test["text"])
    alone = np.array([times[text] == 1 and text not in train_texts for text in joined["text"]])
    return float(hits.mean()), float(hits[alone].mean())


@pytest.mark.parametrize(
    ("name", "per_class", "max_length"), [("imdb", 100, 256), ("agnews", None, 128), ("trec", None, 64)]
)
def test_200_labels_to_a_table(name: str, per_class: int | None, max_length: int, tmp_path: Path) -> None:
    drawn = draw_labels(name, tmp_path, per_class)
    test = pq.read_table(data(f"{name}_test.parquet")).to_pandas()
    test = test.sample(min(len(test), TEST_TEXTS), random_state=SEED)
    test.to_parquet(tmp_path / "documents.parquet")
    trained = tlnlp(
        "finetune", "--set", "labels=labels.parquet", "--set", f"model={name}", "--set", f"max_length={max_length}",
        cwd=tmp_path,
    )  # fmt: skip
    assert tlnlp("promote", f"{name}@1", cwd=tmp_path)["decision"] == "promoted"
    scored = tlnlp(
        "score", "--set", "documents=documents.parquet", "--set", f"model={name}",
        "--set", f"score_date={DAY}", cwd=tmp_path,
    )  # fmt: skip
    rows = tlnlp("query", f"select document_id, label from scores where score_date = '{DAY}'", cwd=tmp_path)
    assert scored["rows_in"] == len(test) == len(rows)
    parts = ("rows_scored", "rows_reused", "rows_duplicate", "rows_quarantined")
    assert scored["rows_in"] == sum(scored[part] for part in parts)
    assert scored["texts_scored"] == test["text"].nunique()

    train_texts = set(pq.read_table(data(f"{name}_train.parquet"))["text"].to_pylist())
    everywhere, alone = accuracy_by_join(rows, test, train_texts)
    baseline = ngram_accuracy(drawn, test)
    ledger = tlnlp("runs", cwd=tmp_path)[0]
    figures = {
        "data": name,
        "labels": len(drawn),
        "accuracy": round(everywhere, 4),
        "accuracy_texts_seen_once": round(alone, 4),
        "linear_ngram_accuracy": round(baseline, 4),
        "finetune_s": trained["seconds"],
        "texts_scored": scored["texts_scored"],
        "documents_per_s": scored["documents_per_s"],
        "score_s": scored["seconds"],
        "peak_worker_mb": scored["peak_worker_bytes"] >> 20,
        "peak_driver_python_mb": ledger["peak_memory"]["process_bytes"] >> 20,
        "peak_driver_jvm_mb": ledger["results"]["peak_jvm_bytes"] >> 20,
    }
    print(json.dumps(figures))
    assert everywhere > baseline


def ngram_accuracy(drawn: pd.DataFrame, test: pd.DataFrame) -> float:
    """Return the accuracy of the linear n-gram model trained on the same labels."""
    classes = sorted(drawn["label"].unique())
    targets = [classes.index(label) for label in drawn["label"]]
    view = fit_ngram([prepare(text, MAX_CHARS) for text in drawn["text"]], targets, len(classes), SEED)
    predicted = view.predict([prepare(text, MAX_CHARS) for text in test["text"]]).argmax(axis=1)
    return float((np.array(classes)[predicted] == test["label"]).mean())


def test_500_scores_do_not_depend_on_the_other_documents(tmp_path: Path) -> None:
    """Probabilities are equal to 1e-3: alone in Python, and in other orders in 1, 2 and 7 files."""
    draw_labels("trec", tmp_path, None)
    tlnlp(
        "finetune", "--set", "labels=labels.parquet", "--set", "model=m", "--set", "training.max_steps=10",
        "--set", "training.min_steps=10", cwd=tmp_path,
    )  # fmt: skip
    tlnlp("promote", "m@1", cwd=tmp_path)
    documents = pq.read_table(data("imdb_test.parquet")).to_pandas().head(500)[["id", "text"]]
    classifier = Classifier.load(tmp_path / ".tlnlp/registry/m/versions/1")
    alone = {str(row.id): classifier.predict([row.text])[0] for row in documents.itertuples()}
    worst = 0.0
    for files in (1, 2, 7):
        folder = tmp_path / f"documents-{files}"
        folder.mkdir()
        mixed = documents.sample(frac=1.0, random_state=files)
        for number in range(files):
            mixed.iloc[number::files].to_parquet(folder / f"{number}.parquet")
        warehouse = f"warehouse=warehouse-{files}"
        tlnlp(
            "score", "--set", f"documents={folder}", "--set", "model=m", "--set", f"score_date={DAY}",
            "--set", warehouse, "--set", f"spark.shuffle_partitions={files}", cwd=tmp_path,
        )  # fmt: skip
        rows = tlnlp("query", "select document_id, probabilities from scores", "--set", warehouse, cwd=tmp_path)
        assert len(rows) == 500
        for row in rows:
            found = np.array([row["probabilities"][label] for label in classifier.classes])
            worst = max(worst, float(np.abs(found - alone[row["document_id"]]).max()))
    print(json.dumps({"documents": 500, "largest_difference": worst}))
    assert worst < 1e-3
