"""Tests of version numbers, also when publishers crash."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from registry_kit import make_bundle

from tlnlp.errors import ModelNotFoundError
from tlnlp.registry import Registry


def test_a_crashed_claim_leaves_a_gap(registry: Registry, folder: Path) -> None:
    registry.publish("m", folder)
    registry.storage.write("m/claims/2.json", b'{"token": "of a publisher that died"}')
    registry.storage.write("m/versions/2/model.onnx", b"half")
    assert str(registry.publish("m", folder)) == "m@3"
    assert [info.version for info in registry.versions("m")] == [1, 3]
    with pytest.raises(ModelNotFoundError, match="no version 2, its publication never finished; it has 1, 3"):
        registry.resolve("m@2")
    with pytest.raises(ModelNotFoundError, match="never finished"):
        registry.set_champion("m", 2, expected=None, by="ada", reason="x")


def test_a_publisher_killed_between_claim_and_manifest(registry: Registry, folder: Path, tmp_path: Path) -> None:
    large = make_bundle(tmp_path / "large")
    os.truncate(large / "head.safetensors", 4 << 30)  # A sparse file takes no time to make and seconds to copy.
    code = "import sys; from pathlib import Path; from tlnlp.registry import Registry\n"
    code += "Registry(sys.argv[1]).publish('m', Path(sys.argv[2]))"
    process = subprocess.Popen([sys.executable, "-c", code, registry.storage.uri, str(large)])
    deadline = time.monotonic() + 30
    while not registry.storage.exists("m/claims/1.json") and time.monotonic() < deadline:
        time.sleep(0.005)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert registry.versions("m") == []
    assert str(registry.publish("m", folder)) == "m@2"
    assert [info.version for info in registry.versions("m")] == [2]


def test_a_claim_is_ours_when_only_the_answer_was_lost(registry: Registry) -> None:
    assert registry._try_claim("m", 1, "mine")
    stored = registry.storage.read("m/claims/1.json")
    assert registry._try_claim("m", 1, "mine")
    assert not registry._try_claim("m", 1, "another's")
    assert registry.storage.read("m/claims/1.json") == stored


def test_a_damaged_claim_belongs_to_nobody(registry: Registry, folder: Path) -> None:
    registry.storage.write("m/claims/1.json", b"\xff not json")
    assert not registry._try_claim("m", 1, "mine")
    assert str(registry.publish("m", folder)) == "m@2"


def test_a_version_copied_without_its_claim_counts(registry: Registry, folder: Path, tmp_path: Path) -> None:
    registry.publish("m", folder)
    registry.storage.delete(["m/claims/1.json"])
    assert str(registry.publish("m", folder)) == "m@2"
    assert [info.version for info in registry.versions("m")] == [1, 2]
    assert abs(registry.versions("m")[0].created_at - datetime.now(UTC)) < timedelta(minutes=5)


def test_without_a_manifest_there_is_no_version(registry: Registry, folder: Path, tmp_path: Path) -> None:
    version = registry.publish("m", folder)
    registry.storage.delete(["m/versions/1/manifest.json"])
    assert registry.versions("m") == []
    assert registry.models() == []
    for call in (lambda: registry.resolve("m@1"), lambda: registry.fetch(version, tmp_path / "out")):
        with pytest.raises(ModelNotFoundError, match="no model 'm'"):
            call()
