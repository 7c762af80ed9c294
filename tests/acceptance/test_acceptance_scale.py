"""A cluster of two workers scores up to a million short documents in linear time and constant memory."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import kit
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import spark_cluster

from tlnlp.model.encoder_catalogue import resolve
from tlnlp.registry import Registry
from tlnlp.runs.memory import peak_bytes

pytestmark = pytest.mark.acceptance
ROOT = Path(__file__).parents[2]
PACKED = ROOT / "dist" / "score-env.tar.gz"
DAY = "2026-01-31"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with spark_cluster.running(tmp_path_factory.mktemp("scale") / "spark") as master:
        yield master


@pytest.fixture(scope="module")
def registry(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("registry")
    registry = Registry(str(folder))
    # The second has the size and the weights of a real encoder, with an untrained head.
    encoder = Path(resolve("all-minilm-l6-v2"))
    heavy = kit.make_bundle(encoder, tmp_path_factory.mktemp("heavy") / "bundle", max_length=128)
    for name, bundle in (("tiny", tiny_bundle), ("heavy", heavy)):
        registry.publish(name, bundle)
        registry.set_champion(name, 1, expected=None, by="ada", reason="first")
    return folder


def write_documents(folder: Path, count: int, files: int = 1, words_each: int = 8) -> Path:
    """Write ``count`` different texts of ``words_each`` words and a number, and return the folder."""
    folder.mkdir(parents=True)
    words = np.array(kit.WORDS)[np.random.default_rng(count).integers(0, len(kit.WORDS), (count, words_each))]
    texts = [f"{' '.join(row)} n{number}" for number, row in enumerate(words)]
    table = pa.table({"id": [f"d{number}" for number in range(count)], "text": texts})
    share = math.ceil(count / files)
    for number in range(files):
        pq.write_table(table.slice(number * share, share), folder / f"{number}.parquet")
    return folder


def _command(pid: str) -> bytes:
    return Path("/proc", pid, "cmdline").read_bytes()


def _is_executor(pid: str, master: str) -> bool:
    """Return whether a process is an executor of this cluster: its parent is a worker started with this master."""
    if not pid.isdigit() or b"CoarseGrainedExecutorBackend" not in _command(pid):
        return False
    parent = Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()[1]
    return master.encode() in _command(parent)


@contextmanager
def executors_watched(master: str, peaks: dict[int, int]) -> Iterator[None]:
    """Record the largest resident set of each executor's JVM, in bytes, in ``peaks`` while the block runs."""
    done = threading.Event()

    def look() -> None:
        while not done.wait(1.0):
            for entry in Path("/proc").iterdir():
                try:
                    if _is_executor(entry.name, master):
                        peaks[int(entry.name)] = max(peaks.get(int(entry.name), 0), peak_bytes(int(entry.name)))
                except OSError:
                    continue

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    yield
    done.set()
    thread.join()


def score(
    cluster: str, registry: Path, documents: Path, cwd: Path, executors: int = 2, model: str = "tiny"
) -> dict[str, Any]:
    """Run one night, and return its result, the duration of its stages and its peak memories in MB."""
    spark = {
        "master": cluster, "conf.spark.archives": f"{PACKED}#environment", "conf.spark.cores.max": executors,
        "conf.spark.executor.cores": 1, "conf.spark.executor.memory": "1g", "driver_memory": "1g",
    }  # fmt: skip
    keys = {"documents": documents, "registry": registry, "model": model, "score_date": DAY}
    settings = [f"{key}={value}" for key, value in keys.items()] + [f"spark.{k}={v}" for k, v in spark.items()]
    command = [sys.executable, "-m", "tlnlp", "score", "--json", *(part for s in settings for part in ("--set", s))]
    environment = {"PYSPARK_PYTHON": "./environment/bin/python", "SPARK_LOCAL_IP": "127.0.0.1"}
    peaks: dict[int, int] = {}
    with executors_watched(cluster, peaks):
        done = subprocess.run(command, cwd=cwd, env=os.environ | environment, stdout=subprocess.PIPE)
    assert done.returncode == 0
    result: dict[str, Any] = json.loads(done.stdout)
    (path,) = (cwd / ".tlnlp/warehouse/ledgers").glob("*.json")
    ledger = json.loads(path.read_text())
    return {
        "executors": len(peaks),
        "rows": result["rows_scored"],
        "seconds": result["seconds"],
        "stages_s": {stage["name"]: round(stage["duration_s"], 1) for stage in ledger["stages"]},
        "documents_per_s": result["documents_per_s"],
        "peak_mb": {
            "driver_python": ledger["peak_memory"]["process_bytes"] >> 20,
            "driver_jvm": ledger["results"]["peak_jvm_bytes"] >> 20,
            "executor_jvm": max(peaks.values()) >> 20,
            "worker_python": result["peak_worker_bytes"] >> 20,
        },
        "files": len(list((cwd / ".tlnlp/warehouse/runs").rglob("scores-*/**/*.parquet"))),
        "result": result,
    }


def printed(figures: dict[str, Any]) -> dict[str, Any]:
    """Print the figures, and return them."""
    print(json.dumps({key: value for key, value in figures.items() if key != "result"}))
    return figures


def test_memory_is_flat_and_time_linear(cluster: str, registry: Path, tmp_path: Path) -> None:
    found = []
    for count in (10_000, 100_000, 1_000_000):
        documents = write_documents(tmp_path / f"documents-{count}", count)
        cwd = tmp_path / f"run-{count}"
        cwd.mkdir()
        figures = printed(score(cluster, registry, documents, cwd))
        assert figures["result"]["rows_in"] == figures["rows"] == figures["result"]["texts_scored"] == count
        assert figures["files"] <= math.ceil(count / 100_000) + math.ceil(count / 200_000)
        found.append(figures)
    small, large = found[0]["peak_mb"], found[-1]["peak_mb"]
    for process in ("driver_python", "worker_python"):
        assert large[process] < small[process] + 200, f"{process} grows with documents"
    # A heap grows to its limit under any load; it must not exceed the limit.
    for process in ("driver_jvm", "executor_jvm"):
        assert large[process] < 1024 + 600
    assert found[2]["stages_s"]["score"] < 15 * found[1]["stages_s"]["score"]


@pytest.mark.parametrize(("model", "count", "words"), [("tiny", 100_000, 8), ("heavy", 6_000, 60)])
def test_two_executors_and_one_are_compared(
    cluster: str, registry: Path, tmp_path: Path, model: str, count: int, words: int
) -> None:
    documents = write_documents(tmp_path / "documents", count, words_each=words)
    seconds = {}
    for executors in (1, 2):
        cwd = tmp_path / f"run-{executors}"
        cwd.mkdir()
        figures = printed(score(cluster, registry, documents, cwd, executors, model))
        assert figures["executors"] == executors
        seconds[executors] = figures["stages_s"]["score"]
    print(json.dumps({"model": model, "score_stage_ratio_1_to_2_executors": round(seconds[1] / seconds[2], 2)}))


def test_2000_tiny_files(cluster: str, registry: Path, tmp_path: Path) -> None:
    documents = write_documents(tmp_path / "documents", 20_000, files=2_000)
    cwd = tmp_path / "run"
    cwd.mkdir()
    figures = printed(score(cluster, registry, documents, cwd))
    assert figures["rows"] == 20_000
    assert figures["files"] == 1
