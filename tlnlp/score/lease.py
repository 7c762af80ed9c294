"""Telling a run that is at work from one that died: a small object in its folder, renewed while it lives."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tlnlp.errors import StorageError
from tlnlp.runs.background import repeated
from tlnlp.storage import Storage

RENEW_EVERY_S = 60.0
KEY = "alive.json"


def this_machine() -> str:
    """A name that another machine, container or boot does not share."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        # Containers may share host name and boot; in which the process ids count is their own.
        boot += "/" + os.readlink("/proc/self/ns/pid")
    except OSError:
        boot = ""
    return f"{platform.node()}/{boot}"


@contextmanager
def held(run: Storage) -> Iterator[None]:
    """Keep the run's folder marked as in use, from a thread, until the block is left."""
    content = json.dumps({"machine": this_machine(), "pid": os.getpid()}).encode()
    run.write(KEY, content)

    def renew() -> None:
        with suppress(StorageError):  # The store may answer again; cleaning waits much longer than one renewal.
            run.write(KEY, content)

    try:
        with repeated(renew, RENEW_EVERY_S):
            yield
    finally:
        with suppress(StorageError):  # One that stays tells of a dead process; that may not hide how the run ended.
            run.delete([KEY])
            if not any(run.list()):
                run.delete_folder("")


def has_ended(run: Storage) -> bool:
    """True if the run is known to be dead: its process ran on this machine, and is no more.

    Of a run on another machine nothing is known but the age of its objects.
    """
    try:
        holder = json.loads(run.read(KEY))
        if holder["machine"] != this_machine():
            return False
        os.kill(int(holder["pid"]), 0)
    except ProcessLookupError:
        return True
    except (StorageError, PermissionError, ValueError, KeyError):
        return False
    return False
