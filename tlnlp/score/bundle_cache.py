"""Keep the bundles that Spark's Python workers have unpacked on this host for the next night.

    $TMPDIR/tlnlp-bundles-<user id>/<digest>-<engine>/

Bundles that were not used for longest are removed when the cache exceeds ``MAX_BYTES``, but none that a living process
has loaded. Executors import this module, so it imports no engine.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tlnlp.errors import BundleError
from tlnlp.runs.scratch import lock, private_folder, remove_unused, size_bytes

if TYPE_CHECKING:
    from pyspark import Broadcast

MAX_BYTES = 512 << 20
# What a killed process was unpacking is removed after so long. Unpacking takes seconds.
_UNFINISHED_S = 3600
_TRIES = 3
# The locks of the bundles that this process has loaded. The system drops it when the process ends.
_locks: dict[Path, int] = {}


def bundle_cache() -> Path:
    """Return the folder of the unpacked bundles on this host.

    Raises:
        BundleError: another user could alter a file in the folder after its check.
    """
    try:
        return private_folder("bundles")
    except PermissionError as error:
        raise BundleError(f"{error}; a bundle is loaded only from a folder that no one else can write to") from error


def cached_bundle(bundle: Broadcast[dict[str, bytes]], digest: str, engine: str) -> Path:
    """Return the folder of the bundle on this host, unpacked if need be, and lock it for this process.

    Each engine reads other files of a bundle, so it has a folder of its own.

    Raises:
        BundleError: the cache belongs to another user.
    """
    cache = bundle_cache()
    folder = cache / f"{digest}-{engine}"
    release(folder)
    for _ in range(_TRIES):
        unpack_bundle(bundle, folder)
        descriptor = lock(folder, shared=True)
        if descriptor is not None:  # Else another process has just removed it, or the file system has no locks.
            _locks[folder] = descriptor
            os.utime(folder)
            break
    trim(cache)
    return unpack_bundle(bundle, folder)


def release(*folders: Path) -> None:
    """Let other processes remove these bundles, which this process has used."""
    for folder in folders:
        if (descriptor := _locks.pop(folder, None)) is not None:
            os.close(descriptor)


def release_all_but(folder: Path) -> None:
    """Let other processes remove the bundles that this process has used before."""
    release(*(set(_locks) - {folder}))


def trim(cache: Path, max_bytes: int | None = None) -> None:
    """Remove the bundles that were not used for longest, until the others fit into ``max_bytes`` (None: the limit)."""
    left = MAX_BYTES if max_bytes is None else max_bytes
    ages: dict[Path, float] = {}
    for folder in cache.iterdir():
        try:
            ages[folder] = folder.stat().st_mtime
        except FileNotFoundError:  # Another process has just removed it.
            continue
    unfinished = {folder for folder in ages if folder.name.startswith("tmp")}
    for folder in unfinished:
        if time.time() - ages[folder] > _UNFINISHED_S:
            shutil.rmtree(folder, ignore_errors=True)
    for number, folder in enumerate(sorted(ages.keys() - unfinished, key=lambda one: ages[one], reverse=True)):
        try:
            left -= size_bytes(folder)
        except FileNotFoundError:
            continue
        if left < 0 and number:
            remove_unused(folder)


def unpack_bundle(bundle: Broadcast[dict[str, bytes]], folder: Path) -> Path:
    """Write the broadcast files to ``folder`` unless it exists, and return it.

    The files are written to a temporary folder, which is then renamed. So ``folder`` is never seen half written.
    """
    if folder.exists():
        return folder
    scratch = Path(tempfile.mkdtemp(dir=folder.parent))
    try:
        for name, data in bundle.value.items():
            (scratch / name).write_bytes(data)
        scratch.rename(folder)
    except OSError:
        # The rename fails if another process of this host has made the folder meanwhile. Its content is as good.
        if not folder.exists():
            raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return folder
