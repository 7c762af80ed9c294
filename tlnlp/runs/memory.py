"""Peak resident memory of processes."""

from __future__ import annotations

import re
import resource
import sys
from pathlib import Path


def peak_bytes(pid: int | None = None) -> int:
    """Largest resident set of a process (None: this one) since its program was started; 0 where it cannot be known.

    Linux tells of any process. Elsewhere getrusage tells of this one; on Linux that figure would be inherited from
    whoever forked it (getrusage(2)).
    """
    try:
        status = Path(f"/proc/{pid or 'self'}/status").read_text()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _unit() if pid is None else 0
    found = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def children_peak_bytes() -> int:
    """Largest resident set of any child that has ended."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * _unit()


def _unit() -> int:
    return 1 if sys.platform == "darwin" else 1024
