"""Join a Ray cluster that runs already, and say soon if nobody answers at its address."""

from __future__ import annotations

import re
import socket
from typing import Any

import ray
from ray.exceptions import RayError

from tlnlp.errors import EngineError
from tlnlp.runs import environment

# Options of ``ray.init`` that every cluster gets.
INIT_OPTIONS: dict[str, Any] = {"log_to_driver": False, "logging_level": "error", "configure_logging": True}
# Ray itself tries for more than five minutes to reach an address where nobody listens.
ANSWER_S = 10.0


def join(address: str, key: str) -> None:
    """Join the cluster at an address.

    Args:
        address: ``host:port``, ``ray://host:port`` or ``auto``.
        key: the setting or variable that holds the address, for messages.

    Raises:
        EngineError: nobody answers at the address, or Ray cannot join the cluster.
    """
    _require_answer(address, key)
    try:
        ray.init(address=address, runtime_env={"env_vars": environment.inherited()}, **INIT_OPTIONS)
    except (RayError, OSError, ConnectionError, RuntimeError, ValueError) as error:
        raise EngineError(
            f"cannot join the Ray cluster at {key}={address} ({type(error).__name__}): check that a cluster with the "
            "same versions of Ray and Python runs there, or add --debug for the traceback"
        ) from error


def _require_answer(address: str, key: str) -> None:
    """Raise EngineError if an address names a host and a port, and nobody listens there."""
    found = re.fullmatch(r"(?:ray://)?\[?([^/\[\]]+?)\]?:(\d+)", address)
    if found is None:
        return
    try:
        socket.create_connection((found[1], int(found[2])), timeout=ANSWER_S).close()
    except (OSError, OverflowError) as error:
        raise EngineError(
            f"nobody answers at the Ray cluster {key}={address} ({type(error).__name__}): start the cluster, correct "
            f"{key}, or unset it to fine-tune on this machine alone"
        ) from error
