"""Folders for temporary files on this machine, which a later process removes if their own process was killed.

    $TMPDIR/tlnlp-<name>-<user id>/    belongs to the user alone

A process locks the folders that it uses. The system drops the locks of a process when it ends, however it ends. So a
folder that can be locked exclusively is in use by nobody.
"""

from __future__ import annotations

import atexit
import fcntl
import functools
import os
import shutil
import stat
import tempfile
from contextlib import suppress
from pathlib import Path


def private_folder(name: str) -> Path:
    """Return the folder ``tlnlp-<name>-<user id>`` of the system's temporary folder. Only the user may write to it.

    Raises:
        PermissionError: another user has made the folder, could alter its files, or has put a link in its place. What
            is below it is removed in time, so a link would have other folders of the user removed.
    """
    folder = Path(tempfile.gettempdir()) / f"tlnlp-{name}-{os.getuid()}"
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise PermissionError(f"{folder} is a link or a file, not a folder; set TMPDIR to a folder of your own")
    if found.st_uid != os.getuid():
        raise PermissionError(f"{folder} belongs to another user; set TMPDIR to a folder of your own")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError(f"other users may write to {folder}; remove it, or set TMPDIR to a folder of your own")
    return folder


@functools.cache
def process_folder(name: str) -> Path:
    """Return this process's own folder below ``private_folder(name)``. It is removed when the process ends.

    The first call also removes the folders of processes that have ended without doing so.

    Raises:
        PermissionError: as ``private_folder`` does.
    """
    home = private_folder(name)
    descriptor = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        # Other processes wait here, so that none of them removes a folder before its owner has locked it.
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        for folder in home.iterdir():
            remove_unused(folder)
        own = Path(tempfile.mkdtemp(dir=home))
        lock(own, shared=True)
    finally:
        os.close(descriptor)
    atexit.register(shutil.rmtree, own, ignore_errors=True)
    return own


def lock(folder: Path, *, shared: bool) -> int | None:
    """Lock a folder until the returned descriptor is closed or the process ends.

    Returns:
        The descriptor; None if another process has locked the folder, if it does not exist, or if its file system has
        no locks.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), folder.stat()):
            return descriptor
    except OSError:
        pass
    os.close(descriptor)
    return None


def remove_unused(folder: Path) -> bool:
    """Remove a folder that no process has locked; return True if it is gone."""
    descriptor = lock(folder, shared=False)
    if descriptor is None:
        return False
    try:
        # Under another name first, so that nobody finds it half removed.
        removed = Path(tempfile.mkdtemp(dir=folder.parent))
        folder.rename(removed)
        shutil.rmtree(removed, ignore_errors=True)
    finally:
        os.close(descriptor)
    return True


def size_bytes(folder: Path) -> int:
    """Return the size of the files directly in a folder."""
    return sum(entry.stat().st_size for entry in os.scandir(folder) if entry.is_file())
