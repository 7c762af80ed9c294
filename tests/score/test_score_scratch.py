"""Temporary files: what a killed process leaves is removed, what a living one uses stays, and the cache has a limit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from score_kit import MODEL, night, write_parquet

from tlnlp.config import ScoreSettings
from tlnlp.errors import BundleError, ModelNotFoundError, StorageError
from tlnlp.runs import scratch
from tlnlp.score.bundle_cache import trim
from tlnlp.score.job import score
from tlnlp.score.plan import plan
from tlnlp.score.spark_start import score_folder

PREPARE = """if True:
    import os, signal, sys, tempfile, time
    from pathlib import Path
    from tlnlp.runs import scratch
    from tlnlp.score.spark_start import score_folder
"""
WRITE_AND = f"""{PREPARE}
    folder = score_folder()
    (folder / "bundle-x").mkdir()
    (folder / "bundle-x" / "model.onnx.data").write_bytes(bytes(1000))
    print(folder, flush=True)
"""


def run(code: str, tmp: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"TMPDIR": str(tmp)}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)


@contextmanager
def living(code: str, tmp: Path, *arguments: str) -> Iterator[Path]:
    """Run a process while the block runs; yield the folder that it prints."""
    environment = os.environ | {"TMPDIR": str(tmp)}
    command = [sys.executable, "-c", code + "    time.sleep(600)\n", *arguments]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Path(process.stdout.readline().strip())
        finally:
            process.kill()


def folders(tmp: Path, name: str = "score") -> set[str]:
    return {path.name for path in (tmp / f"tlnlp-{name}-{os.getuid()}").iterdir()}


def test_what_a_killed_process_leaves_is_removed_by_the_next_one(tmp_path: Path) -> None:
    killed = run(WRITE_AND + "    os.kill(os.getpid(), signal.SIGKILL)\n", tmp_path)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert folders(tmp_path) == {Path(killed.stdout.strip()).name}
    with living(WRITE_AND, tmp_path) as alive:
        assert folders(tmp_path) == {alive.name}
        ended = run(WRITE_AND, tmp_path)
        assert ended.returncode == 0, ended.stderr
        assert folders(tmp_path) == {alive.name}
        assert (alive / "bundle-x" / "model.onnx.data").stat().st_size == 1000
    assert (tmp_path / f"tlnlp-score-{os.getuid()}").stat().st_mode & 0o077 == 0


def test_a_folder_of_another_user_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    owner = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: owner + 1)
    (tmp_path / f"tlnlp-score-{owner + 1}").mkdir()
    scratch.process_folder.cache_clear()
    with pytest.raises(StorageError, match="belongs to another user; set TMPDIR"):
        score_folder()


def test_a_link_in_its_place_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "own"
    (own / "precious").mkdir(parents=True)
    (tmp_path / f"tlnlp-score-{os.getuid()}").symlink_to(own)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    scratch.process_folder.cache_clear()
    with pytest.raises(StorageError, match="is a link or a file, not a folder; set TMPDIR"):
        score_folder()
    assert [path.name for path in own.iterdir()] == ["precious"]


def test_a_folder_that_others_may_write_to_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / f"tlnlp-score-{os.getuid()}"
    folder.mkdir()
    folder.chmod(0o777)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    scratch.process_folder.cache_clear()
    with pytest.raises(StorageError, match="other users may write to"):
        score_folder()


def bundles(cache: Path, **used_s_ago: int) -> None:
    """Make bundles of 100 bytes, each last used so many seconds ago."""
    for name, age_s in used_s_ago.items():
        (cache / name).mkdir(parents=True)
        (cache / name / "model.onnx").write_bytes(bytes(100))
        os.utime(cache / name, (time.time() - age_s,) * 2)


def test_the_bundles_that_were_not_used_for_longest_are_removed(tmp_path: Path) -> None:
    cache = tmp_path / f"tlnlp-bundles-{os.getuid()}"
    bundles(cache, a=50, b=40, c=30, d=20, tmpold=4000, tmpnew=10)
    trim(cache, 400)
    assert folders(tmp_path, "bundles") == {"a", "b", "c", "d", "tmpnew"}
    trim(cache, 250)
    assert folders(tmp_path, "bundles") == {"c", "d", "tmpnew"}
    trim(cache, 10)
    assert folders(tmp_path, "bundles") == {"d", "tmpnew"}, "the newest stays, however large it is"


def test_a_bundle_that_a_living_process_has_loaded_is_not_removed(tmp_path: Path) -> None:
    cache = tmp_path / f"tlnlp-bundles-{os.getuid()}"
    bundles(cache, used=50, unused=40, newest=1)
    use = f"""{PREPARE}
    folder = Path(sys.argv[1])
    assert scratch.lock(folder, shared=True) is not None
    print(folder, flush=True)
"""
    with living(use, tmp_path, str(cache / "used")), living(use, tmp_path, str(cache / "used")):
        trim(cache, 150)
        assert folders(tmp_path, "bundles") == {"used", "newest"}
    trim(cache, 150)
    assert folders(tmp_path, "bundles") == {"newest"}


def test_a_refused_night_creates_no_warehouse(registry: Path, tmp_path: Path) -> None:
    source = write_parquet(tmp_path / "documents.parquet", [{"id": "1", "text": "good"}])
    warehouse = tmp_path / "new" / "place" / "ware"
    settings = ScoreSettings(
        documents=str(source), warehouse=str(warehouse), registry=str(registry), model="nobody", score_date="2026-11-23"
    )
    before = sorted(tmp_path.rglob("*"))
    for command in (score, plan):
        with pytest.raises(ModelNotFoundError):
            command(settings)
        assert sorted(tmp_path.rglob("*")) == before
    # A warehouse that was there gets the ledger, and stays.
    warehouse.mkdir(parents=True)
    with pytest.raises(ModelNotFoundError):
        score(settings)
    assert [path.parent.name for path in warehouse.rglob("*.json")] == ["ledgers"]


def test_a_damaged_bundle_is_recorded_in_a_new_warehouse(registry: Path, tmp_path: Path) -> None:
    own = tmp_path / "registry"
    subprocess.run(["cp", "-r", str(registry), str(own)], check=True)
    (own / MODEL / "versions" / "1" / "head.safetensors").write_bytes(b"no weights")
    with pytest.raises(BundleError):
        night(tmp_path / "none.parquet", tmp_path / "ware", own)
    assert [path.parent.name for path in (tmp_path / "ware").rglob("*.json")] == ["ledgers"]
