"""Mark a run as active by a small object in its folder, which the run rewrites while it is alive.

The object lets a later run distinguish an active run from a dead one.
"""

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
from tlnlp.warehouse.run_folder import LEASE

RENEW_EVERY_S = 10.0
# Without a renewal for so long, a run of another machine is taken for dead where that does no harm (day_lease.py).
EXPIRES_S = 60.0


def this_machine() -> str:
    """Return a name that is unique to this machine, its boot and this container."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        # Containers may share host name and boot id, but each has its own namespace of process ids.
        boot += "/" + os.readlink("/proc/self/ns/pid")
    except OSError:
        boot = ""
    return f"{platform.node()}/{boot}"


def _process_start(pid: int) -> str:
    """Return when a process of this machine started, in ticks after its boot; empty where the system does not say."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


@contextmanager
def held(run: Storage) -> Iterator[None]:
    """Mark the run's folder as in use until the block ends. A thread renews the mark.

    Raises:
        StorageError: the mark cannot be written at the start.
    """
    pid = os.getpid()
    content = json.dumps({"machine": this_machine(), "pid": pid, "started": _process_start(pid)}).encode()
    run.write(LEASE, content)

    def renew() -> None:
        # One failed renewal does no harm, because cleaning waits for much longer than RENEW_EVERY_S.
        with suppress(StorageError):
            run.write(LEASE, content)

    try:
        with repeated(renew, RENEW_EVERY_S):
            yield
    finally:
        # A mark that cannot be deleted names a process that has ended, so it does no harm. The block's own exception
        # must not be hidden by this one.
        with suppress(StorageError):
            run.delete([LEASE])
            if not any(run.list()):
                run.delete_folder("")


def has_ended(run: Storage) -> bool:
    """Return True if the run is known to be dead: its process ran on this machine and no longer exists.

    A run of another machine can be judged only by the age of its objects, so the result is False.
    """
    try:
        holder = json.loads(run.read(LEASE))
        if holder["machine"] != this_machine():
            return False
        pid, started = int(holder["pid"]), holder.get("started", "")
        os.kill(pid, 0)
        # The process id of a dead run may have been given to another process.
        return bool(started) and _process_start(pid) not in ("", started)
    except ProcessLookupError:
        return True
    except (StorageError, PermissionError, ValueError, KeyError):
        return False


def holder_of(run: Storage) -> str:
    """Return the process and the machine of a run, as a person reads them."""
    try:
        holder = json.loads(run.read(LEASE))
        return f"process {holder['pid']} on {str(holder['machine']).partition('/')[0]}"
    except (StorageError, ValueError, KeyError):
        return "of an unknown machine"
