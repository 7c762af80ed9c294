"""Why Spark failed: each known cause has a sentence of its own, and no sentence quotes a document."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from py4j.protocol import Py4JError
from pyspark.sql import SparkSession

from tlnlp.config import SparkSettings
from tlnlp.errors import EngineError, InputDataError, TlnlpError
from tlnlp.score.session import spark_errors
from tlnlp.score.spark_start import start

CANARY = "a canary that sings"


def in_worker(spark: SparkSession, fault: str = "none") -> None:
    """Meet a fault in a Python worker of Spark."""

    # Workers cannot import this module, so they get what this function defines.
    def each(batches: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        for batch in batches:
            if fault == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            elif fault == "no package":
                __import__("no_such_package.inner")
            elif fault == "unknown":
                raise ValueError(f"{CANARY}\nThere is no end to {CANARY}")
            yield batch

    spark.range(1).mapInPandas(each, "id long").collect()


def vanished(spark: SparkSession, folder: Path) -> None:
    pq.write_table(pa.table({"text": [CANARY]}), folder / "one.parquet")
    frame = spark.read.parquet(str(folder))
    (folder / "one.parquet").unlink()
    frame.collect()


def brotli(spark: SparkSession, folder: Path) -> None:
    pq.write_table(pa.table({"text": [CANARY] * 1000}), folder / "one.parquet", compression="brotli")
    spark.read.parquet(str(folder)).collect()


def in_worker_with(spark: SparkSession, attribute: str, value: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spark.sparkContext, attribute, value)
        in_worker(spark)


Case = tuple[Callable[[SparkSession, Path], Any], type[TlnlpError], str]
CASES: dict[str, Case] = {
    "vanished": (vanished, InputDataError, r"/one\.parquet vanished while the night read it"),
    "codec": (brotli, InputDataError, r"is compressed by \S*BrotliCodec, which this Spark lacks; write it anew"),
    "not writable": (
        lambda spark, _: spark.range(1).write.parquet("/proc/tlnlp"), EngineError, "this user may not read or write",
    ),
    "killed": (
        lambda spark, _: in_worker(spark, "killed"), EngineError, "a Python worker was killed or ran out of memory",
    ),
    "no package": (
        lambda spark, _: in_worker(spark, "no package"), EngineError, "lacks the package no_such_package; install",
    ),
    "other Python": (
        lambda spark, _: in_worker_with(spark, "pythonVer", "3.8"), EngineError, "another minor version of Python",
    ),
    "no Python": (
        lambda spark, _: in_worker_with(spark, "pythonExec", "/nowhere/python"), EngineError,
        "it has no program /nowhere/python; set PYSPARK_PYTHON",
    ),
    "unknown": (
        lambda spark, _: in_worker(spark, "unknown"), EngineError,
        r"Spark failed \((PYTHON_EXCEPTION|PythonException), ValueError\)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_each_cause_is_named(spark: SparkSession, tmp_path: Path, name: str) -> None:
    call, kind, sentence = CASES[name]
    with pytest.raises(kind, match=sentence) as raised, spark_errors("scoring"):
        call(spark, tmp_path)
    message = str(raised.value)
    assert type(raised.value) is kind
    assert message.startswith("scoring: ")
    assert "canary" not in message
    assert "run the night again" not in message, "another night meets the same"


SIGNS = {
    "java.io.IOException: No space left on device": "a disk is full",
    "java.lang.OutOfMemoryError: Java heap space": "a process of Spark ran out of memory",
    "ExecutorLostFailure (executor 3 exited caused by one of the running tasks)": "an executor was lost",
    "java.net.BindException: Cannot assign requested address: Service 'sparkDriver' failed": "cannot listen",
    "org.apache.spark.SparkException: All masters are unresponsive! Giving up.": "cannot be reached",
    "Caused by: java.io.FileNotFoundException: /a b/c.parquet (Permission denied)": "may not read or write /a b/c.parq",
}


@pytest.mark.parametrize("sign", SIGNS)
def test_causes_that_no_test_can_bring_about_are_told_by_their_signs(sign: str) -> None:
    """These messages are those of Spark, Hadoop and Java, as their sources have them."""
    with pytest.raises(EngineError, match=SIGNS[sign]), spark_errors("scoring"):
        raise Py4JError(f"An error occurred while calling o1.collect.\n{sign}\n\tat a.b.C")


def make_program(folder: Path, name: str, script: str) -> Path:
    """Write a program into ``folder/bin``, and return the folder."""
    program = folder / "bin" / name
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return folder


OLD_JAVA = """echo 'openjdk version "11.0.20" 2023-07-18' >&2; case "$*" in *-version*) exit 0;; esac; exit 1"""
START = """
import sys
from tlnlp.config import SparkSettings
from tlnlp.errors import EngineError
from tlnlp.score.spark_start import start
try:
    start(SparkSettings(driver_memory=sys.argv[1]))
except EngineError as error:
    print(error)
"""


@pytest.mark.parametrize("fault", ["old Java", "too much memory", "too little memory"])
def test_why_spark_does_not_start(fault: str, tmp_path: Path) -> None:
    java = {"JAVA_HOME": str(make_program(tmp_path / "java", "java", OLD_JAVA))} if fault == "old Java" else {}
    memory = {"too much memory": "99999999g", "too little memory": "100m"}.get(fault, "1g")
    own = {name: value for name, value in os.environ.items() if not name.startswith(("PYSPARK_", "SPARK_"))}
    done = subprocess.run(
        [sys.executable, "-c", START, memory], env=own | java, capture_output=True, text=True, timeout=300
    )
    message = done.stdout.splitlines()[-1]  # Java itself prints on stdout, too.
    assert message.startswith("Spark does not start, so nothing was scored: ")
    expected = {
        "old Java": f"Java 11 ({tmp_path}/java/bin/java) is too old, and Spark needs 17 or newer",
        "too much memory": "Java cannot get a heap of 99999999g on this machine; lower it",
        "too little memory": "the driver's memory is too small for Spark; raise it to 1g or more",
    }
    assert expected[fault] in message


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("JAVA_HOME", "JAVA_HOME={} is no folder of Java, since there is no bin/java in it"),
        ("SPARK_HOME", "SPARK_HOME={} is no folder of Spark, since there is no bin/spark-submit in it"),
    ],
)
def test_a_wrong_folder_is_named(name: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYSPARK_GATEWAY_PORT", raising=False)
    monkeypatch.setenv(name, str(tmp_path))
    with pytest.raises(EngineError) as raised:
        start(SparkSettings())
    assert message.format(tmp_path) in str(raised.value)


def test_another_spark_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYSPARK_GATEWAY_PORT", raising=False)
    home = make_program(tmp_path / "spark", "spark-submit", "exit 1")
    monkeypatch.setenv("SPARK_HOME", str(home))
    (home / "jars").mkdir()
    (home / "jars" / "spark-core_2.12-3.5.1.jar").touch()
    with pytest.raises(
        EngineError, match=r"holds Spark 3\.5, and the pyspark of this Python is of Spark \d\.\d; correct"
    ):
        start(SparkSettings())


def test_no_java_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYSPARK_GATEWAY_PORT", raising=False)
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(EngineError, match="there is no Java, and Spark needs 17 or newer"):
        start(SparkSettings())
