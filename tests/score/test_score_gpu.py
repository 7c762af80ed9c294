"""Nights on GPUs that Spark leases: refused where it leases none, or where a worker has none that it can use."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import ctranslate2
import pytest
import spark_cluster
from pyspark.sql import SparkSession
from score_kit import documents, night, night_settings, start_process, write_parquet

from tlnlp.config import SparkSettings
from tlnlp.errors import UsageError
from tlnlp.score.gpu_lease import check_amount, leased_gpu

ENGINE = "ctranslate2-cuda-int8"
CLUSTER = "spark://host:7077"
ROOT = Path(__file__).parents[2]
PATIENCE_S = 300
# Two tasks at once, so that both GPUs of the worker are leased. Both nights take the same session; the second lacks the
# check at its start, so it meets the missing device where it scores.
NIGHTS = """
from tlnlp.config import SparkSettings
from tlnlp.errors import EngineError
from tlnlp.score import chunks
from tlnlp.score.gpu_lease import leased_gpu
from tlnlp.score.spark_start import start
spark = start(SparkSettings(**settings["spark"]))
def lease(number):
    time.sleep(2)
    return leased_gpu()
print("leased:", sorted(spark.sparkContext.parallelize(range(2), 2).map(lease).collect()))
try:
    job.score(ScoreSettings(**settings))
except EngineError as error:
    print(error)
chunks.check_leases = lambda context: None
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_parquet(tmp_path / "documents.parquet", documents(4))


def test_a_session_that_leases_no_gpus_publishes_nothing(
    spark: SparkSession, registry: Path, warehouse: Path, source: Path
) -> None:
    with pytest.raises(UsageError, match=r"engine: ctranslate2-cuda-int8 .*; start a cluster|leases none: set"):
        night(source, warehouse, registry, engine=ENGINE)
    assert not warehouse.exists()


@pytest.mark.parametrize(
    ("master", "amount", "message"),
    [
        ("local[2]", "1", r"leases none in local mode \(local\[2\]\)"),
        (CLUSTER, "0", r"leases none: set spark\.executor\.resource\.gpu\.amount"),
        (CLUSTER, "2", r"a task uses one, not spark\.task\.resource\.gpu\.amount=2"),
    ],
)
def test_settings_of_a_session_that_are_refused(master: str, amount: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_amount(master, amount)


@pytest.mark.parametrize("amount", ["1", "0.25"])
def test_settings_of_a_session_that_leases_gpus(amount: str) -> None:
    check_amount(CLUSTER, amount)
    check_amount("local-cluster[1,2,4096]", amount)


def test_a_task_without_a_lease_is_refused(spark: SparkSession) -> None:
    def refusal(_: int) -> str:
        try:
            return str(leased_gpu())
        except Exception as error:
            return f"{type(error).__name__}: {error}"

    (found,) = spark.sparkContext.parallelize([0], 1).map(refusal).collect()
    assert found.startswith("EngineError: Spark has leased no GPU to a task")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the master of a cluster whose worker claims to have two GPUs."""
    with spark_cluster.running(tmp_path_factory.mktemp("gpus") / "spark", 1, cores=2, gpus=["3", "5"]) as master:
        yield master


@pytest.mark.acceptance
@pytest.mark.skipif(ctranslate2.get_cuda_device_count() > 0, reason="this machine has a CUDA device")
def test_a_leased_gpu_that_the_worker_does_not_have_publishes_nothing(
    cluster: str, registry: Path, warehouse: Path, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)  # This cluster has no packed environment.
    conf = {"spark.task.resource.gpu.amount": "1", "spark.executor.resource.gpu.amount": "2"}
    conf |= {"spark.executorEnv.PYTHONPATH": str(ROOT), "spark.executor.memory": "1g", "spark.task.maxFailures": "1"}
    session = SparkSettings(master=cluster, driver_memory="1g", conf=conf)
    settings = night_settings(source, warehouse, registry, engine=ENGINE, spark=session)
    process = start_process(NIGHTS, settings, tmp_path / "log")
    try:
        code = process.wait(PATIENCE_S)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    log = (tmp_path / "log").read_text()
    assert code == 7, log
    assert "leased: [3, 5]" in log
    for step in ("looking for GPUs", "scoring"):
        message = rf"{step}: nothing was published: GPU [35] of \S+: there is no NVIDIA driver, or one that is too old"
        assert re.search(message, log), log
    assert not (warehouse / "tlnlp" / "scores").exists()
