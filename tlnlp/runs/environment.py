"""Set defaults in the process environment; jobs and the command line do so before any heavy import."""

from __future__ import annotations

import getpass
import os
from pathlib import Path

from tlnlp.config.shared import DEFAULT_WORKSPACE

# By default no usage statistics are sent, and nothing is fetched from a model hub.
QUIET = {
    # ONNX Runtime reads it when it is imported (see ``engines.onnx_fp32``); remote workers get it from here.
    "ORT_DISABLE_TELEMETRY": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_V2_ENABLED": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # Ray starts workers at low priority, so that on a busy machine they achieve little within a time budget.
    "RAY_worker_niceness": "0",
    # Ray ends an idle worker after one second; the next stage would then have to import torch again.
    "RAY_idle_worker_killing_time_threshold_ms": "600000",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "error",
}

LOOPBACK = ("localhost", "127.0.0.1", "::1")


def apply_defaults() -> None:
    """Set those variables of ``QUIET`` that the environment does not have, and keep loopback away from a proxy.

    A user without a home folder, as in some containers, gets one in the default workspace: libraries look for it.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    try:
        Path.home()
    except RuntimeError:
        os.environ["HOME"] = str(Path(DEFAULT_WORKSPACE, "home").absolute())
    if any(f"{scheme}_proxy" in map(str.lower, os.environ) for scheme in ("http", "https", "all")):
        for name in ("no_proxy", "NO_PROXY"):
            hosts = [host for host in os.environ.get(name, "").split(",") if host]
            os.environ[name] = ",".join([*hosts, *(host for host in LOOPBACK if host not in hosts)])


def user_name() -> str:
    """Return the name of the user; or the user id, where the machine has no name for it, as in some containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid{os.getuid()}"


# Addresses of stores, without credentials: workers on other machines have their own.
PLACES = ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3")


def inherited() -> dict[str, str]:
    """Return the present values of the ``QUIET`` and ``PLACES`` variables, for workers on other machines."""
    quiet = {name: os.environ.get(name, value) for name, value in QUIET.items()}
    return quiet | {name: os.environ[name] for name in PLACES if name in os.environ}
