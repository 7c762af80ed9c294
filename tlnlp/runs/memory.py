"""Measure the peak resident memory of processes."""

from __future__ import annotations

import re
import resource
import sys
from pathlib import Path


def peak_bytes(pid: int | None = None) -> int:
    """Return the peak resident memory of a process (None: this one) in bytes; 0 if it is unknown.

    Linux reports it for every process in ``/proc``. On other systems getrusage reports it for this process only; on
    Linux getrusage would include the peak of the parent from before the fork (getrusage(2)).
    """
    try:
        status = Path(f"/proc/{pid or 'self'}/status").read_text()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _unit() if pid is None else 0
    found = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def children_peak_bytes() -> int:
    """Return the largest peak resident memory of any child process that has ended, in bytes."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * _unit()


def _unit() -> int:
    """Return the unit of ``ru_maxrss`` in bytes."""
    return 1 if sys.platform == "darwin" else 1024
