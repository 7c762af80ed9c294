"""Tests of publications and promotions from several processes at once."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
from collections.abc import Callable
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

from registry_kit import make_bundle

from tlnlp.errors import PromotionRefusedError
from tlnlp.registry import Registry

PUBLISHERS = 6


def _publish(barrier: Barrier, uri: str, folder: str, results: Any) -> None:
    registry = Registry(uri)
    barrier.wait()
    results.put([registry.publish("m", Path(folder)).version for _ in range(3)])


def _set_champion(barrier: Barrier, uri: str, version: int, results: Any) -> None:
    registry = Registry(uri)
    outcomes = []
    for number in range(10):
        before = registry.champion(f"m{number}")
        barrier.wait()
        try:
            registry.set_champion(
                f"m{number}", version, expected=before.tag if before else None, by=f"racer {version}", reason="race"
            )
            outcomes.append(True)
        except PromotionRefusedError as error:
            if "another promotion came first" not in str(error):
                raise
            outcomes.append(False)
    results.put(outcomes)


def run_at_once(work: Callable[..., None], arguments: list[tuple[Any, ...]]) -> list[Any]:
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(len(arguments)), context.Queue()
    processes = [context.Process(target=work, args=(barrier, *some, results)) for some in arguments]
    for process in processes:
        process.start()
    outcomes = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * len(processes)
    return outcomes


def test_racing_publishers_get_a_version_each(registry: Registry, tmp_path: Path) -> None:
    folders = [make_bundle(tmp_path / str(number), f"labels of {number}") for number in range(PUBLISHERS)]
    published = run_at_once(_publish, [(registry.storage.uri, str(folder)) for folder in folders])
    versions = sorted(version for one in published for version in one)
    assert versions == list(range(1, 3 * PUBLISHERS + 1))
    assert [info.version for info in registry.versions("m")] == versions
    stored = [json.loads(registry.storage.read(f"m/versions/{version}/training.json")) for version in versions]
    labels = sorted(label for one in stored for label in one["text_sha256"])
    assert labels == sorted(f"labels of {number}" for number in range(PUBLISHERS) for _ in range(3))
    for version in versions:
        fetched = registry.fetch(registry.resolve(f"m@{version}"), tmp_path / "fetched" / str(version))
        listed = json.loads((fetched / "manifest.json").read_text())["files"]["training.json"]["sha256"]
        assert hashlib.sha256((fetched / "training.json").read_bytes()).hexdigest() == listed


def test_of_racing_promotions_one_wins(registry: Registry, folder: Path) -> None:
    # Half of the models have a champion before the race; the others get their first one.
    manifest = (folder / "manifest.json").read_bytes()  # It makes a version exist; no file of it is read here.
    for number in range(10):
        for version in range(1, PUBLISHERS + 2):
            registry.storage.write(f"m{number}/versions/{version}/manifest.json", manifest)
        if number % 2:
            registry.set_champion(f"m{number}", PUBLISHERS + 1, expected=None, by="ada", reason="first")
    outcomes = run_at_once(_set_champion, [(registry.storage.uri, version + 1) for version in range(PUBLISHERS)])
    for number, wins in enumerate(zip(*outcomes, strict=True)):
        assert sum(wins) == 1
        champion = registry.champion(f"m{number}")
        assert champion is not None
        assert champion.by == f"racer {champion.version}"
        assert champion.previous == (PUBLISHERS + 1 if number % 2 else None)
