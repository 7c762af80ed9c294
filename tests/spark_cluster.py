"""Start a real Spark standalone cluster on the loopback address: a master and workers, each with its own folders."""

from __future__ import annotations

import os
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyspark
from s3_server import free_port

SPARK_HOME = Path(pyspark.__file__).parent
START_S = 60
# Each application unpacks hundreds of megabytes on each worker. By default, Spark removes them only after days.
CLEANUP = {"enabled": "true", "interval": "20", "appDataTtl": "20"}


@contextmanager
def running(folder: Path, workers: int = 2, cores: int = 4, memory: str = "8g") -> Iterator[str]:
    """Run a cluster during the block, and yield the URL of its master.

    Workers have Java and Spark only: no credentials, and no packages of this project. They may offer more cores and
    memory than the machine has, so that several applications can run at once.
    """
    folder.mkdir(parents=True)
    port, page = free_port(), free_port()
    master = f"spark://127.0.0.1:{port}"
    processes = [
        _start(
            folder, "master", ["master.Master", "--host", "127.0.0.1", "--port", str(port), "--webui-port", str(page)]
        )
    ]
    try:
        _wait(page, 0)
        for number in range(workers):
            arguments = ["worker.Worker", "--host", "127.0.0.1", "--webui-port", "0", "-c", str(cores), "-m", memory]
            work = ["-d", str(folder / f"worker-{number}" / "work"), master]
            processes.append(_start(folder, f"worker-{number}", [*arguments, *work]))
        _wait(page, workers)
        yield master
    finally:
        for process in reversed(processes):
            process.terminate()
        for process in processes:
            process.wait(20)


def _start(folder: Path, name: str, arguments: list[str]) -> subprocess.Popen[bytes]:
    own = folder / name
    (own / "tmp").mkdir(parents=True)
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "JAVA_HOME") if name in os.environ}
    environment |= {"SPARK_LOCAL_IP": "127.0.0.1", "SPARK_HOME": str(SPARK_HOME), "TMPDIR": str(own / "tmp")}
    options = [f"-Dspark.worker.cleanup.{name}={value}" for name, value in CLEANUP.items()]
    environment["SPARK_WORKER_OPTS"] = " ".join(options)
    command = [str(SPARK_HOME / "bin" / "spark-class"), f"org.apache.spark.deploy.{arguments[0]}", *arguments[1:]]
    with (folder / f"{name}.log").open("wb") as log:
        return subprocess.Popen(command, env=environment, stdout=log, stderr=log)


def _wait(page: int, workers: int) -> None:
    """Wait until the master answers and has so many workers."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{page}/json/", timeout=5) as answer:
                text = answer.read().decode()
        except OSError:
            text = ""
        if text and text.count('"state" : "ALIVE"') >= workers:
            return
        time.sleep(0.3)
    raise RuntimeError(
        f"the Spark cluster has fewer than {workers} workers after {START_S} s; read the logs of its folder"
    )
