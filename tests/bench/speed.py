"""Measure how many documents a second tlnlp and its peers score, side by side on this machine.

    python tests/bench/speed.py run [--data imdb] [--budget 300] [--documents 4000] [--rounds 2] [--version FOLDER]
    python tests/bench/speed.py whole --data imdb --version FOLDER
    python tests/bench/speed.py table

``run`` fine-tunes a version for each data set (200 labels of IMDb, 8 a class of AG News, and documents), or takes the
one of a folder, and scores test texts: with each peer (see ``speed_peers``), with ``tlnlp score`` in each profile, and
with the bare engines on one core. What is compared is measured in turns, ``--rounds`` times; the table has medians.
``whole`` scores all test texts once with the cascades, and compares that with the peers that were measured before.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from cells import commit, data_folder, machine, write_json
from draws import DATA_SETS, Draw, draw, test_texts
from speed_peers import PEERS, SETFIT, matmul_peaks, rate, run_alone, sequence_classifier
from speed_table import write_tables

HERE = Path(__file__).parent
RESULTS = HERE / "speed.json"
LABELS = {"imdb": 200, "agnews": 8}
SEED = 701
# Texts of a peer in a round, enough for 20 s on two cores; and so few that their time is that of a start.
PEER_TEXTS = {"imdb": 160, "agnews": 800}
START_TEXTS = 4
PROFILES = ("none", "safe", "fast")
BARE_TEXTS = {"imdb": 60, "agnews": 400}
TORCH_BATCHES = {"text by text": 1, "batches of 32": 32}


def main() -> None:
    """Run the command of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["run", "whole", "table"])
    parser.add_argument("--data", choices=sorted(LABELS), nargs="*", default=sorted(LABELS, reverse=True))
    parser.add_argument("--budget", type=float, default=300.0, help="seconds of fine-tuning")
    parser.add_argument("--documents", type=int, default=4000, help="documents that tlnlp scores; 0: all")
    parser.add_argument("--rounds", type=int, default=2, help="how often each is measured")
    parser.add_argument("--version", type=Path, help="folder of a version, in place of fine-tuning one")
    parser.add_argument("--keep", type=Path, help="folder for the version that is fine-tuned")
    given = parser.parse_args()
    if given.command == "run":
        results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
        for data in given.data:
            results[data] = measure(data, given.budget, given.documents, given.rounds, given.version, given.keep)
            results[data] |= {"commit": commit(), "machine": machine(), "peaks": matmul_peaks()}
            write_json(RESULTS, results)
    if given.command == "whole":
        results = json.loads(RESULTS.read_text())
        for data in given.data:
            results[data]["whole"] = whole(data, given.version)
            write_json(RESULTS, results)
    write_tables(json.loads(RESULTS.read_text()))


def whole(data: str, version: Path) -> dict[str, Any]:
    """Return the figures of nights that score all test texts with each cascade."""
    every = test_texts(DATA_SETS[data], data_folder())
    with tempfile.TemporaryDirectory(prefix="speed-") as scratch:
        folder = Path(scratch)
        profiles = _nights(_registry(version, folder), every.texts, every.labels, folder, 1, PROFILES[1:])
    return {"documents": len(every.texts), "profiles": profiles, "machine": machine(), "commit": commit()}


def measure(
    data: str, budget_s: float, documents: int, rounds: int, version: Path | None, keep: Path | None
) -> dict[str, Any]:
    """Return all figures of a data set."""
    drawn = draw(DATA_SETS[data], LABELS[data], SEED, data_folder(), dev=False)
    with tempfile.TemporaryDirectory(prefix="speed-") as scratch:
        folder = Path(scratch)
        bundle = version or _fine_tune(data, drawn, budget_s, folder)
        if keep is not None:
            shutil.copytree(bundle, keep / data)
        registry = _registry(bundle, folder)
        order = np.random.default_rng(SEED).permutation(len(drawn.test.texts)).tolist()
        chosen = order[: documents or None]
        texts, labels = ([rows[i] for i in chosen] for rows in (drawn.test.texts, drawn.test.labels))
        peers = _peers(bundle, texts[: PEER_TEXTS[data]], folder, rounds)
        found = {"documents": len(texts), "engines": _bare(bundle, texts[: BARE_TEXTS[data]], rounds, folder)}
        return found | {"peers": peers, "profiles": _nights(registry, texts, labels, folder, rounds)}


def _fine_tune(data: str, drawn: Draw, budget_s: float, folder: Path) -> Path:
    drawn.write(folder)
    settings: dict[str, object] = {
        "labels": "labels.parquet",
        "unlabelled": "pool.parquet",
        "registry": "made",
        "model": "speed",
    }
    settings |= {"time_budget_s": budget_s, "max_length": DATA_SETS[data].max_length, "seed": SEED}
    result = _tlnlp(["finetune"], settings, folder)
    return folder / "made" / "speed" / "versions" / str(result["version"])


def _registry(bundle: Path, folder: Path) -> Path:
    """Return a registry with the version."""
    from tlnlp.registry import Registry

    Registry(str(folder / "registry")).publish("speed", bundle)
    return folder / "registry"


def _tlnlp(command: Sequence[str], settings: dict[str, object], folder: Path) -> dict[str, Any]:
    """Run the command line, and return its result with the seconds of the whole process."""
    sets = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "tlnlp", *command, "--json", *sets], cwd=folder, stdout=subprocess.PIPE, check=True
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return result | {"process_s": time.monotonic() - started}


def _nights(
    registry: Path,
    texts: Sequence[str],
    labels: Sequence[str],
    folder: Path,
    rounds: int,
    profiles: Sequence[str] = PROFILES,
) -> dict[str, Any]:
    """Return the figures of whole nights in each profile, in turns."""
    ids = [str(number) for number in range(len(texts))]
    pq.write_table(pa.table({"id": ids, "text": list(texts)}), folder / "documents.parquet")
    found: dict[str, list[dict[str, Any]]] = {profile: [] for profile in profiles}
    for number in range(rounds):
        for profile in profiles:
            warehouse = folder / f"warehouse-{profile}-{number}"
            settings: dict[str, object] = {"documents": "documents.parquet", "registry": registry, "model": "speed@1"}
            settings |= {"warehouse": warehouse, "score_date": "2026-01-01", "optimise": profile}
            night = _tlnlp(["score"], settings, folder)
            ledger = json.loads((warehouse / "ledgers" / f"{night['run_id']}.json").read_text())
            print(profile, night, file=sys.stderr)
            found[profile].append(night | {"stages": ledger["stages"], "results": ledger["results"]})
    return {name: _night_figures(nights, folder / f"warehouse-{name}-0", labels) for name, nights in found.items()}


def _night_figures(nights: Sequence[dict[str, Any]], warehouse: Path, labels: Sequence[str]) -> dict[str, Any]:
    from tlnlp.warehouse.query import run_query

    rows = run_query(str(warehouse), "select document_id, label, stage from scores").rows
    hits = sum(labels[int(row[0])] == row[1] for row in rows)
    whole = [len(labels) / night["process_s"] for night in nights]
    return {
        "profile": nights[0]["results"]["profile"],
        "accuracy": hits / len(rows),
        "settled_share": sum(row[2] != "encoder" for row in rows) / len(rows),
        "whole_documents_per_s": statistics.median(whole),
        "scoring_documents_per_s": statistics.median(night["documents_per_s"] for night in nights),
        "stages_s": {stage["name"]: round(stage["duration_s"], 1) for stage in nights[0]["stages"]},
        "process_s": [round(night["process_s"], 1) for night in nights],
        "peak_worker_bytes": max(night["results"].get("peak_worker_bytes", 0) for night in nights),
    }


def _bare(bundle: Path, texts: Sequence[str], rounds: int, folder: Path) -> dict[str, Any]:
    """Return documents a second of one core without Spark, tokenised before: engines and the n-gram view, in turns."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    from tlnlp.data.text import prepare
    from tlnlp.model.classifier import Classifier
    from tlnlp.model.engines.engine import open_engine

    classifier = Classifier.load(bundle, threads=1)
    prepared = [prepare(text, classifier.spec.max_chars) for text in texts]
    encoded = classifier.encoder.encode(prepared)
    engines = {name: open_engine(bundle, classifier.spec, name, 1) for name in ("onnx-fp32", "ctranslate2-int8")}
    work: dict[str, Callable[[], object]] = {name: partial(engine.predict, encoded) for name, engine in engines.items()}
    network = sequence_classifier(bundle, 2, folder / "bare")
    work |= {f"Hugging Face, fp32, {title}": run_alone(network, texts, size) for title, size in TORCH_BATCHES.items()}
    work["n-grams"] = lambda: classifier.ngram.predict(prepared)
    work["tokenizer"] = lambda: classifier.encoder.encode(prepared)
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(rounds + 1):
        for name, call in work.items():
            started = time.monotonic()
            call()
            seconds[name].append(time.monotonic() - started)
    rates = {name: len(texts) / statistics.median(times[1:]) for name, times in seconds.items()}
    return {"tokens": float(np.mean([len(ids) for ids in encoded]))} | rates


def _peers(bundle: Path, texts: Sequence[str], folder: Path, rounds: int) -> dict[str, Any]:
    """Return documents a second of each peer, in turns; the 6-layer encoder with the best of the pipelines, too."""
    from pyspark.sql import SparkSession

    from tlnlp.model.encoder_catalogue import resolve

    networks = {"": sequence_classifier(bundle, 2, folder / "twelve")}
    networks[", 6 layers"] = sequence_classifier(Path(resolve("all-minilm-l6-v2")), 2, folder / "six")
    names = [name for name in PEERS if name != "sentence_transformers" or SETFIT.exists()]
    pairs = [(name, "") for name in names] + [(name, ", 6 layers") for name in ("pipeline, a thread", "pipeline")]
    os.environ["PYSPARK_PYTHON"] = sys.executable  # A setting of the session would not reach the workers.
    spark = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    try:
        starts = {pair: PEERS[pair[0]].seconds(spark, networks[pair[1]], texts[:START_TEXTS]) for pair in pairs}
        starts |= {pair: PEERS[pair[0]].seconds(spark, networks[pair[1]], texts[:START_TEXTS]) for pair in pairs}
        rates: dict[tuple[str, str], list[float]] = {pair: [] for pair in pairs}
        for _ in range(rounds):
            for pair in pairs:
                peer = PEERS[pair[0]]
                rates[pair].append(rate(peer, spark, networks[pair[1]], texts, starts[pair]))
                print(pair, round(rates[pair][-1], 2), file=sys.stderr)
    finally:
        spark.stop()
    return {PEERS[name].title + size: statistics.median(values) for (name, size), values in rates.items()}


if __name__ == "__main__":
    main()
