"""Run `tlnlp explore` in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def served(warehouse: Path, *arguments: str, **environment: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Run the command; yield the first line of its stdout and the process."""
    command = [
        sys.executable,
        "-m",
        "tlnlp",
        "explore",
        "--set",
        f"warehouse={warehouse}",
        "--set",
        "port=0",
        *arguments,
    ]
    # A shell starts what it runs in the background without SIGINT, and children inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | environment
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip(), process
    finally:
        process.kill()
        process.communicate()
