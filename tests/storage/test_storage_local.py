"""Behaviour of local folders only: leftovers of killed writers, permissions, files in place of folders."""

from __future__ import annotations

import multiprocessing
import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tlnlp.errors import StorageError, TlnlpError
from tlnlp.storage import Storage

_NOBODY = 65534


def test_what_a_killed_writer_left_is_never_listed_and_goes_with_its_folder(
    tmp_path: Path,
) -> None:
    storage = Storage(str(tmp_path))
    storage.write("runs/1/part.parquet", b"1")
    (tmp_path / "runs/1/part.parquet#1").write_bytes(b"half")
    assert [entry.key for entry in storage.list()] == ["runs/1/part.parquet"]
    assert storage.delete_folder("runs/1") == 1
    assert not (tmp_path / "runs").joinpath("1").exists()


def test_delete_folder_leaves_folders_outside_alone(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    storage = Storage(str(tmp_path / "root"))
    storage.write("a", b"1")
    assert storage.delete_folder(str(outside)) == 0
    assert outside.is_dir()


def _as_nobody(root: str, results: multiprocessing.SimpleQueue[tuple[str, str, str]]) -> None:
    storage = Storage(root)
    storage.read("open/file")
    if os.geteuid() == 0:
        os.seteuid(_NOBODY)
    calls: dict[str, Callable[[], object]] = {
        "read": lambda: storage.read("open/closed"),
        "write": lambda: storage.write("shut/new", b"1"),
        "claim": lambda: storage.put_if_absent("shut/new", b"1"),
        "delete": lambda: storage.delete(["shut/kept"]),
        "swap": lambda: storage.compare_and_swap("shut/kept", b"2", storage.read_tagged("shut/kept").tag),
    }
    for name, call in calls.items():
        try:
            call()
        except TlnlpError as error:
            results.put((name, type(error).__name__, str(error)))
        else:
            results.put((name, "nothing", ""))


def test_without_permission_the_message_says_so() -> None:
    # pytest's folders are closed to other users, and root has every right: so this test has its own folder and user.
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name in ("open/file", "open/closed", "shut/kept"):
            Storage(folder).write(name, b"1")
        root.chmod(0o755)
        (root / "open/closed").chmod(0)
        (root / "shut").chmod(stat.S_IRUSR | stat.S_IXUSR | stat.S_IROTH | stat.S_IXOTH)
        context = multiprocessing.get_context("spawn")
        results = context.SimpleQueue()
        process = context.Process(target=_as_nobody, args=(folder, results))
        process.start()
        outcomes = {name: (kind, message) for name, kind, message in (results.get() for _ in range(5))}
        process.join()
        (root / "shut").chmod(0o755)
        for name, (kind, message) in outcomes.items():
            assert kind == "StorageError", (name, kind, message)
            assert "Permission denied" in message
            assert "lack the right: ask for access" in message
        assert (root / "shut/kept").read_bytes() == b"1"
        assert "open/closed" in outcomes["read"][1]


def test_a_file_where_a_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("x")
    below = Storage(str(tmp_path / "labels.csv"))
    with pytest.raises(StorageError) as caught:
        below.write("a", b"1")
    assert type(caught.value) is StorageError
    assert "labels.csv/a" in str(caught.value)
    with pytest.raises(StorageError, match="Not a directory"):
        Storage(str(tmp_path)).read("labels.csv/a")
