"""Run a real S3 server (versitygw) on a loopback address during a test session."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

CACHE = Path(__file__).parents[1] / ".cache"
SERVER = CACHE / "bin" / "versitygw"
JARS = CACHE / "jars"
BUCKET = "tlnlp-tests"
REQUIRED = bool(os.environ.get("TLNLP_REQUIRE_S3"))


def require() -> None:
    """Skip the test if the server or the jars were not fetched; fail it if TLNLP_REQUIRE_S3 is set."""
    if SERVER.exists() and list(JARS.glob("*.jar")):
        return
    message = "no S3 server or no S3A jars in .cache/: install Go and run `make tools`"
    pytest.fail(message) if REQUIRED else pytest.skip(message)


def spark_classpath() -> dict[str, str]:
    """Return the Spark properties that put the S3A jars on the class path; empty if the jars were not fetched."""
    if not list(JARS.glob("*.jar")):
        return {}
    return {f"spark.{who}.extraClassPath": f"{JARS}/*" for who in ("driver", "executor")}


def free_port() -> int:
    """Return a free port of the loopback address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(folder: Path) -> Iterator[dict[str, str]]:
    """Run the server over ``folder`` with one bucket, and yield the environment variables that reach it."""
    (folder / BUCKET).mkdir(parents=True)
    port, access, secret = free_port(), "tlnlp-" + secrets.token_hex(4), secrets.token_hex(16)
    environment = {"ROOT_ACCESS_KEY": access, "ROOT_SECRET_KEY": secret, "PATH": os.environ["PATH"]}
    command = [str(SERVER), "--quiet", "--port", f"127.0.0.1:{port}", "posix", str(folder)]
    with (folder.parent / "s3-server.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        _wait(process, port)
        yield {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_ACCESS_KEY_ID": access,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_REGION": "us-east-1",
            # boto3 must use neither the developer's profile nor a cloud's metadata service.
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }
    finally:
        process.terminate()
        process.wait(10)
        shutil.rmtree(folder, ignore_errors=True)


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    for _ in range(100):
        if process.poll() is not None:
            raise RuntimeError(f"the S3 server ended with code {process.returncode}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise RuntimeError("the S3 server does not answer after 10 s")


@contextmanager
def environment(values: dict[str, str]) -> Iterator[None]:
    """Set the variables for this process and its children while the block runs, without others of their prefixes."""
    kinds = {name.split("_")[0] + "_" for name in values}
    names = {name for name in os.environ if name.startswith(tuple(kinds))} | values.keys()
    before = {name: os.environ.pop(name) for name in names if name in os.environ}
    os.environ.update(values)
    try:
        yield
    finally:
        for name in values:
            os.environ.pop(name, None)
        os.environ.update(before)
