"""Scores of real texts are equal bits, whatever the partitions, the batches, the order, and killed workers."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import kit
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tlnlp.config import ScoreSettings
from tlnlp.model.encoder_catalogue import resolve
from tlnlp.model.profile import ENGINE_NAMES
from tlnlp.registry import Registry
from tlnlp.score.job import score
from tlnlp.warehouse.query import run_query

pytestmark = pytest.mark.acceptance
COUNT = 2_000
# Enough to have loaded the model, and less than scoring takes.
BUSY_S = 4.0
# Partitions of the scoring, rows of an Arrow batch, and whether a worker is killed while it scores.
WAYS = [(1, 2048, False), (2, 100, False), (7, 33, False), (2, 333, True)]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a registry with a model of a real encoder; its head is untrained, which bits do not care about."""
    folder = tmp_path_factory.mktemp("registry")
    bundle = kit.make_bundle(Path(resolve("e5-small-v2")), folder / "bundle", max_length=256)
    Registry(str(folder / "made")).publish("bits", bundle)
    return folder / "made"


def busy_workers() -> list[int]:
    """Return the ids of Spark's Python workers below this process that have computed for some seconds."""
    parents: dict[int, int] = {}
    busy = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            command = (folder / "cmdline").read_text()
        except OSError:  # The process has ended.
            continue
        parents[int(folder.name)] = int(fields[1])
        if "pyspark.daemon" in command and int(fields[11]) / os.sysconf("SC_CLK_TCK") > BUSY_S:
            busy.append(int(folder.name))

    def is_below(process: int) -> bool:
        return process == os.getpid() or (process in parents and is_below(parents[process]))

    return [process for process in busy if is_below(process)]


@contextmanager
def killing_a_worker(kills: bool) -> Iterator[list[int]]:
    """Kill one of Spark's Python workers while it scores, if asked to; yield its id."""
    killed: list[int] = []
    stopped = threading.Event()

    def kill() -> None:
        while not killed and not stopped.wait(0.2):
            for worker in busy_workers()[:1]:
                os.kill(worker, signal.SIGKILL)
                killed.append(worker)

    thread = threading.Thread(target=kill, daemon=True)
    if kills:
        thread.start()
    yield killed
    stopped.set()


@pytest.mark.parametrize("engine", ENGINE_NAMES)
@pytest.mark.parametrize("data", ["imdb", "agnews"])
def test_two_thousand_texts(data: str, engine: str, registry: Path, tmp_path: Path) -> None:
    folder = os.environ.get("TLNLP_DATA")
    if not folder:
        pytest.skip("TLNLP_DATA names no folder with the data sets")
    texts = pq.read_table(Path(folder) / f"{data}_test.parquet")["text"].to_pylist()[:COUNT]
    found: list[dict[str, Any]] = []
    for number, (partitions, batch, kills) in enumerate(WAYS):
        order = np.random.default_rng(number).permutation(len(texts))
        source = tmp_path / f"{number}.parquet"
        pq.write_table(pa.table({"id": [f"d{i}" for i in order], "text": [texts[i] for i in order]}), source)
        spark = kit.SPARK.model_copy(update={"master": "local[2,4]", "shuffle_partitions": partitions})
        warehouse = tmp_path / f"warehouse-{number}"
        settings = {"documents": str(source), "registry": str(registry), "warehouse": str(warehouse), "spark": spark}
        settings |= {"model": "bits@1", "engine": engine, "score_date": "2026-01-01", "arrow_batch_rows": batch}
        started = time.monotonic()
        with killing_a_worker(kills) as killed:
            score(ScoreSettings(**settings))
        assert len(killed) == kills
        rows = run_query(str(warehouse), "select document_id, probabilities from scores").rows
        found.append({name: tuple(sorted(probabilities.items())) for name, probabilities in rows})
        assert len(found[-1]) == len(rows) == len(set(found[0]))
        print(f"{data}, {engine}, {partitions} partitions, killed: {killed}: {time.monotonic() - started:.0f} s")
    differing = sum(len({one[name] for one in found}) > 1 for name in found[0])
    print(f"{data}, {engine}: {differing} of {len(found[0])} rows differ")
    assert differing == 0
