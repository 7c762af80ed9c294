"""The files of ``conf/`` that the installed package carries, so that they are found from any folder."""

from __future__ import annotations

from pathlib import Path


def shipped_file(name: str) -> Path:
    """Return the path of a file that comes with tlnlp: in the installed package, or in ``conf/`` of a checkout."""
    installed = Path(__file__).parents[1] / name
    return installed if installed.exists() else Path(__file__).parents[2] / "conf" / name
