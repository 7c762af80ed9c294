"""Defaults for the process environment. Called by jobs and the command line before anything heavy is imported."""

from __future__ import annotations

import os

# Nothing is sent anywhere and nothing fetched unless the user says so: no usage statistics, no model-hub look-ups.
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_V2_ENABLED": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # By default Ray's workers give way to everything else on the machine, and a time budget buys little.
    "RAY_worker_niceness": "0",
    # A worker that has imported torch is worth keeping between two stages; by default Ray ends it after a second.
    "RAY_idle_worker_killing_time_threshold_ms": "600000",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "error",
}


def apply_defaults() -> None:
    """Set what the user has not set."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)


# Where the stores are; never what opens them. Workers on other machines have credentials of their own.
PLACES = ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3")


def inherited() -> dict[str, str]:
    """The same variables as they stand now, and where the stores are, for workers on other machines."""
    quiet = {name: os.environ.get(name, value) for name, value in QUIET.items()}
    return quiet | {name: os.environ[name] for name in PLACES if name in os.environ}
