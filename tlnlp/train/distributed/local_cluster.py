"""Start Ray on this machine for one run, within reach of this machine and this user only."""

from __future__ import annotations

import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray._private import ray_constants
from ray._private.node import Node

from tlnlp.errors import EngineError
from tlnlp.runs import environment
from tlnlp.train.distributed.remote_cluster import INIT_OPTIONS

# The path of a Unix socket has 107 bytes at most. Ray's own part of it (/session_.../sockets/plasma_store) has 64.
MAX_TEMP_BYTES = 107 - 64
PREFIX = "ray-"
_TOKEN_VARIABLES = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
# What this process has made for its cluster: folders, and variables of the environment.
_folders: list[Path] = []
_variables: list[str] = []


def start() -> None:
    """Start Ray on this machine, and join it.

    It listens on the loopback address only. Its folder belongs to the user alone, and a token of its own keeps other
    users of the machine out; otherwise Ray would write a token into the home folder.

    Raises:
        EngineError: Ray does not start.
    """
    # This saves one process per job: no cloud provider reclaims the machine we run on.
    os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
    # Otherwise PyTorch's workers meet at the address that the name of this machine has.
    meeting = {"GLOO_SOCKET_IFNAME": "lo"} if sys.platform == "linux" else {}
    folder = _make_folder()
    if not any(name in os.environ for name in _TOKEN_VARIABLES):
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
        _variables.extend(["RAY_AUTH_TOKEN", "RAY_AUTH_MODE"])  # Ray itself sets the mode, when it starts a cluster.
        _read_token_again()
    try:
        with _on_loopback(), _without_api_server():
            ray.init(
                "local",
                include_dashboard=False,
                runtime_env={"env_vars": meeting | environment.inherited()},
                # Ray makes its folder open to all users, so it lies in one that is not.
                _temp_dir=str(folder / "r"),
                **INIT_OPTIONS,
            )
    except Exception as error:  # Ray raises plain exceptions, too, as where a process of its own is slow to start.
        ray.shutdown()
        clean()
        raise EngineError(
            f"cannot start Ray on this machine ({type(error).__name__}): free memory and disk space ({folder.parent}, "
            "/dev/shm), then try again, or add --debug for the traceback"
        ) from error


def clean() -> None:
    """Remove the folder and the token of a cluster that ``start`` started and that has been shut down."""
    while _folders:
        shutil.rmtree(_folders.pop(), ignore_errors=True)
    if _variables:
        while _variables:
            os.environ.pop(_variables.pop(), None)
        _read_token_again()


def _make_folder() -> Path:
    """Make a folder for the user alone, below the first temporary folder whose path is short enough for sockets.

    Raises:
        EngineError: there is no such folder that can be written to.
    """
    given = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    for base in (given, "/tmp"):
        if len(os.fsencode(os.path.abspath(base))) + len(f"/{PREFIX}12345678/r") <= MAX_TEMP_BYTES:
            try:
                _folders.append(Path(tempfile.mkdtemp(prefix=PREFIX, dir=base)).absolute())
                return _folders[-1]
            except OSError:
                continue
    raise EngineError(
        f"Ray cannot make its folder: {given} cannot be written to or is too long for sockets, and so is /tmp: set "
        f"RAY_TMPDIR to a folder whose path has at most {MAX_TEMP_BYTES - len(PREFIX) - 11} characters"
    )


@contextmanager
def _on_loopback() -> Iterator[None]:
    """Let the cluster that is started in this block take 127.0.0.1 as its node's address, and listen nowhere else.

    Ray does so by itself on macOS and Windows. On Linux it replaces a given loopback address by an outer one.
    """
    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


@contextmanager
def _without_api_server() -> Iterator[None]:
    """Let the cluster that is started in this block have no API server, which a run does not need.

    Ray starts one even without a dashboard. It asks which cloud it runs in, at addresses outside of this machine.
    """
    node: Any = Node
    before = node.start_api_server
    node.start_api_server = lambda self, **options: setattr(self, "_webui_url", None)
    try:
        yield
    finally:
        node.start_api_server = before


def _read_token_again() -> None:
    """Make this process read its token and whether there is one again: Ray reads both once a process."""
    core: Any = ray._raylet
    if hasattr(core, "AuthenticationTokenLoader"):  # Older versions of Ray know no tokens.
        core.AuthenticationTokenLoader.instance().reset_cache()
        core.Config.initialize("")
