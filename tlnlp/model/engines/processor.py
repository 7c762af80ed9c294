"""Say what this machine's processor can do with int8 numbers."""

from __future__ import annotations

import platform
import re
from functools import cache
from pathlib import Path

_X86 = ("x86_64", "amd64", "i386", "i686")
_VNNI = {"avx512_vnni", "avx_vnni"}
_CPUINFO = Path("/proc/cpuinfo")


@cache
def saturates() -> bool:
    """Return whether int8 products may saturate: x86 without VNNI adds pairs of them in 16 bits.

    Where the processor cannot be asked, they may.
    """
    if platform.machine().lower() not in _X86:
        return False
    try:
        found = re.search(r"^flags\s*:(.*)$", _CPUINFO.read_text(), re.MULTILINE)
    except OSError:
        return True
    return found is None or not _VNNI & set(found[1].split())
