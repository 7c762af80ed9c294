"""A Ray cluster that nobody runs is named soon; one on this machine fits into any temporary folder."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tlnlp.config import RaySettings
from tlnlp.errors import EngineError
from tlnlp.train.distributed import cluster, local_cluster, remote_cluster


@pytest.fixture
def nobodys_port() -> Iterator[int]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # It does not listen, and nobody else can.
        yield taken.getsockname()[1]


@pytest.mark.parametrize("form", ["127.0.0.1:{}", "ray://127.0.0.1:{}"])
@pytest.mark.parametrize("key", ["RAY_ADDRESS", "ray.address"])
def test_an_address_where_nobody_listens_is_named_soon(
    nobodys_port: int, form: str, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = form.format(nobodys_port)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if key == "RAY_ADDRESS":
        monkeypatch.setenv(key, address)
    began = time.monotonic()
    with pytest.raises(EngineError, match=f"nobody answers at the Ray cluster {key}={address}"):
        cluster.start(RaySettings(address=None if key == "RAY_ADDRESS" else address))
    assert time.monotonic() - began < 15


def test_a_machine_that_swallows_packets_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_cluster, "ANSWER_S", 0.2)
    with socket.socket() as full:  # Its backlog is full, so further connections get no answer.
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        others = [socket.socket() for _ in range(3)]
        for other in others:
            other.setblocking(False)
            other.connect_ex(full.getsockname())
        with pytest.raises(EngineError, match=r"nobody answers .*TimeoutError"):
            remote_cluster.join(f"127.0.0.1:{full.getsockname()[1]}", "RAY_ADDRESS")
        for other in others:
            other.close()


def test_sockets_fit_into_any_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tmp_path / ("long " * 20)
    long.mkdir()
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(long))
    made = local_cluster._make_folder()
    try:
        assert made.stat().st_mode & 0o077 == 0
        path = made / "r" / "session_2026-11-29_09-04-10_015145_1234567" / "sockets" / "plasma_store"
        assert len(os.fsencode(path)) <= 107
    finally:
        local_cluster.clean()
    assert not made.exists()
