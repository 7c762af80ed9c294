"""Run a real Ray cluster on loopback addresses: a head node and a second node, with one CPU each."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from s3_server import free_port

from tlnlp.runs import environment

START_S = 300
# Ray replaces 127.0.0.1 by the machine's own address, but accepts other loopback addresses.
HEAD = "127.0.0.2"


@contextmanager
def running(folder: Path, nodes: int = 2) -> Iterator[dict[str, str]]:
    """Run the cluster and yield the environment variables for ``ray job submit``.

    The nodes inherit this process's AWS variables, in place of a role. The cluster has its own token; otherwise Ray
    would create one in the home folder.
    """
    folder.mkdir(parents=True)
    port, page = free_port(), free_port()
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    head = ["--head", "--port", str(port), "--dashboard-host", "127.0.0.1", "--dashboard-port", str(page)]
    processes = [_start(folder, HEAD, head, token)]
    try:
        _wait(page, processes)
        for number in range(1, nodes):
            processes.append(_start(folder, f"127.0.0.{number + 2}", ["--address", f"{HEAD}:{port}"], token))
        address = token | {"RAY_API_SERVER_ADDRESS": f"http://127.0.0.1:{page}"}
        _wait_for_jobs(address)
        yield address
    finally:
        for process in reversed(processes):
            _end(process)


def _start(folder: Path, address: str, arguments: list[str], token: dict[str, str]) -> subprocess.Popen[bytes]:
    own = ["--num-cpus", "1", "--num-gpus", "0", "--node-ip-address", address, "--disable-usage-stats", "--block"]
    # Each node has its own folder, as on its own machine; in a shared one, nodes overwrite each other's job code.
    session = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # a short path, because it holds sockets
    (folder / f"{address}.session").symlink_to(session)
    # Another Ray on this machine may have the usual port, and without it a node accepts no job.
    own += ["--temp-dir", str(session), "--dashboard-agent-listen-port", str(free_port())]
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", *arguments, *own]
    # `python` on a node is the one with the packages, as in a container image.
    path = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    with (folder / f"{address}.log").open("wb") as log:
        return subprocess.Popen(
            command, stdout=log, stderr=log, start_new_session=True, env=os.environ | environment.QUIET | path | token
        )


def _wait(page: int, processes: list[subprocess.Popen[bytes]]) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if any(process.poll() is not None for process in processes):
            raise RuntimeError("a Ray node ended while it started; see its log")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{page}/api/version", timeout=5):
                return
        except urllib.error.HTTPError:
            return  # The dashboard runs and asks for the cluster's token.
        except OSError:
            time.sleep(0.5)
    raise RuntimeError(f"the Ray cluster does not answer after {START_S} s")


def _wait_for_jobs(address: dict[str, str]) -> None:
    """Submit an empty job until it succeeds, because the dashboard answers before any node accepts jobs."""
    command = [sys.executable, "-m", "ray.scripts.scripts", "job", "submit", "--", "true"]
    deadline = time.monotonic() + START_S
    while subprocess.run(command, env=os.environ | address, capture_output=True).returncode:
        if time.monotonic() > deadline:
            raise RuntimeError(f"the Ray cluster accepts no job after {START_S} s")
        time.sleep(1)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Terminate the node, then kill its remaining descendants, which are in sessions of their own."""
    descendants = children_of(process.pid)
    process.send_signal(signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(15)
    for pid in [process.pid, *descendants]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait(5)


def children_of(pid: int) -> list[int]:
    """Return the ids of all descendants of a process (Linux)."""
    found = []
    for thread in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, thread.read_text().split()):
            found += [child, *children_of(child)]
    return found
