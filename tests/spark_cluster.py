"""Start a real Spark standalone cluster on the loopback address: a master and workers, each with its own folders."""

from __future__ import annotations

import json
import os
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyspark
from s3_server import free_port

SPARK_HOME = Path(pyspark.__file__).parent
START_S = 60
# Each application unpacks hundreds of megabytes on each worker. By default, Spark removes them only after days.
CLEANUP = {"enabled": "true", "interval": "20", "appDataTtl": "20"}


@contextmanager
def running(
    folder: Path, workers: int = 2, cores: int = 4, memory: str = "8g", gpus: Sequence[str] = ()
) -> Iterator[str]:
    """Run a cluster during the block, and yield the URL of its master.

    Workers have Java and Spark only: no credentials, and no packages of this project. They may offer more cores and
    memory than the machine has, so that several applications can run at once. ``gpus``: the addresses of the GPUs that
    each worker offers, whether there are any or not.
    """
    folder.mkdir(parents=True)
    port, page = free_port(), free_port()
    offered = _gpu_options(folder, gpus) if gpus else {}
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
            processes.append(_start(folder, f"worker-{number}", [*arguments, *work], offered))
        _wait(page, workers)
        yield master
    finally:
        for process in reversed(processes):
            process.terminate()
        for process in processes:
            process.wait(20)


def _gpu_options(folder: Path, gpus: Sequence[str]) -> dict[str, str]:
    """Write a discovery script, and return the properties by which a worker offers what it prints."""
    script = folder / "gpus.sh"
    script.write_text(f"#!/bin/sh\necho '{json.dumps({'name': 'gpu', 'addresses': list(gpus)})}'\n")
    script.chmod(0o755)
    place = "spark.worker.resource.gpu"
    return {f"{place}.amount": str(len(gpus)), f"{place}.discoveryScript": str(script)}


def _start(
    folder: Path, name: str, arguments: list[str], properties: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    own = folder / name
    (own / "tmp").mkdir(parents=True)
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "JAVA_HOME") if name in os.environ}
    environment |= {"SPARK_LOCAL_IP": "127.0.0.1", "SPARK_HOME": str(SPARK_HOME), "TMPDIR": str(own / "tmp")}
    cleanup = {f"spark.worker.cleanup.{name}": value for name, value in CLEANUP.items()}
    options = [f"-D{name}={value}" for name, value in {**cleanup, **(properties or {})}.items()]
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
