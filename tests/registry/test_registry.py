"""Versions, the champion alias and what happens when several want the same thing at once."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pytest

from tlnlp.errors import BundleError, NotFoundError, PromotionRefusedError, StorageError, UsageError
from tlnlp.ledger import Ledger
from tlnlp.registry import Champion, ModelSpec, Registry, parse_model

MOMENT = datetime(2026, 11, 23, 23, 1, 2, tzinfo=UTC)
PUBLISHERS = 6


class Clock:
    """One minute later at every look."""

    def __init__(self) -> None:
        self.looks = 0

    def __call__(self) -> datetime:
        self.looks += 1
        return MOMENT + timedelta(minutes=self.looks)


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(str(tmp_path / "registry"), now=Clock())


def make_bundle(folder: Path, content: str = "weights", extra: dict[str, Any] | None = None) -> Path:
    files = {"model.onnx": content.encode(), "bundle.json": b"{}", "parts/one.bin": b"\x00\x01"}
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    listed = {
        name: {"sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)} for name, data in files.items()
    }
    (folder / "manifest.json").write_text(json.dumps({"format": 1, "files": listed | (extra or {})}))
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "bundle")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def promote(registry: Registry, version: int, reason: str = "better", forced: bool = False) -> Champion:
    before = registry.champion("m")
    expected = before.tag if before else None
    return registry.set_champion("m", version, expected=expected, by="ada", reason=reason, forced=forced)


# --- names


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("m", ModelSpec("m")),
        ("reviews-v2.large_x", ModelSpec("reviews-v2.large_x")),
        ("m@champion", ModelSpec("m", alias="champion")),
        ("m@1", ModelSpec("m", version=1)),
        ("0m@120", ModelSpec("0m", version=120)),
        ("a" * 63, ModelSpec("a" * 63)),
    ],
)
def test_a_model_is_written_in_three_ways(written: str, meant: ModelSpec) -> None:
    assert parse_model(written) == meant


@pytest.mark.parametrize(
    "written",
    [
        *("", "@1", "M", "m m", "-m", ".m", "..", "a/b", "../m", "m\n", "ü", "a" * 64, "m@", "m@0", "m@01", "m@-1"),
        *("m@1.0", "m@latest", "m@Champion", "m@1@2", "m@ 1", "m@1\n", "m@²", "m@9999999999"),
    ],
)
def test_other_ways_are_refused(registry: Registry, written: str) -> None:
    with pytest.raises(UsageError):
        parse_model(written)
    with pytest.raises(UsageError):
        registry.resolve(written)


@pytest.mark.parametrize("name", ["", "Upper", "a/b", "..", "a b", "a" * 64, "m@1"])
def test_no_call_takes_a_wrong_name(registry: Registry, folder: Path, name: str) -> None:
    calls: list[Callable[[], object]] = [
        lambda: registry.check_name(name),
        lambda: registry.publish(name, folder),
        lambda: registry.versions(name),
        lambda: registry.champion(name),
        lambda: registry.set_champion(name, 1, expected=None, by="ada", reason="x"),
        lambda: registry.rollback(name, by="ada", reason="x"),
        lambda: registry.write_ledger(name, Ledger("finetune", "r", {})),
        lambda: registry.ledgers(name),
    ]
    for call in calls:
        with pytest.raises(UsageError, match="no model name"):
            call()
    assert list(registry.storage.list()) == []


# --- publish and fetch


def test_versions_are_numbered_and_come_back_whole(registry: Registry, folder: Path, tmp_path: Path) -> None:
    first = registry.publish("m", folder)
    second = registry.publish("m", make_bundle(tmp_path / "other", "more weights"))
    assert [str(first), str(second)] == ["m@1", "m@2"]
    assert first.uri == registry.storage.url("m/versions/1")
    assert registry.resolve("m@1") == first
    assert registry.fetch(first, tmp_path / "one") == tmp_path / "one"
    registry.fetch(second, tmp_path / "two")
    assert contents(tmp_path / "one") == contents(folder)
    assert contents(tmp_path / "two") == contents(tmp_path / "other")


def test_versions_tell_time_size_and_champion(registry: Registry, folder: Path) -> None:
    assert registry.versions("m") == []
    registry.publish("m", folder)
    registry.publish("m", folder)
    promote(registry, 2)
    one, two = registry.versions("m")
    assert (one.version, one.champion, two.version, two.champion) == (1, False, 2, True)
    assert one.created_at == MOMENT + timedelta(minutes=1)
    assert two.created_at == MOMENT + timedelta(minutes=2)
    assert one.size_bytes == sum(len(data) for data in contents(folder).values())
    assert one.uri == registry.resolve("m@1").uri


def test_models_are_those_with_a_version(registry: Registry, folder: Path) -> None:
    assert registry.models() == []
    registry.publish("zeta", folder)
    registry.publish("alpha", folder)
    registry.write_ledger("only-failed", Ledger("finetune", "r", {}))
    registry.storage.write("Not_a_model/versions/1/manifest.json", b"{}")
    assert registry.models() == ["alpha", "zeta"]


def test_publishing_changes_no_stored_byte(registry: Registry, folder: Path, tmp_path: Path) -> None:
    registry.publish("m", folder)
    root = tmp_path / "registry"
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in root.rglob("*") if path.is_file()}
    registry.publish("m", make_bundle(tmp_path / "other", "more"))
    for path, (data, changed_ns) in before.items():
        assert (path.read_bytes(), path.stat().st_mtime_ns) == (data, changed_ns)


def test_an_unfinished_bundle_is_not_published(registry: Registry, tmp_path: Path) -> None:
    def no_manifest(folder: Path) -> None:
        (folder / "manifest.json").unlink()

    def file_missing(folder: Path) -> None:
        (folder / "model.onnx").unlink()

    def file_too_many(folder: Path) -> None:
        (folder / "notes.txt").write_text("x")

    def no_json(folder: Path) -> None:
        (folder / "manifest.json").write_text("{")

    def other_json(folder: Path) -> None:
        (folder / "manifest.json").write_text('{"files": 3}')

    faults = {
        "no manifest.json": no_manifest,
        "model.onnx missing": file_missing,
        "notes.txt not in the manifest": file_too_many,
        "not a bundle's manifest": no_json,
        r"manifest \(TypeError": other_json,
    }
    for number, (says, damage) in enumerate(faults.items()):
        folder = make_bundle(tmp_path / str(number))
        damage(folder)
        with pytest.raises(BundleError, match=says):
            registry.publish("m", folder)
    with pytest.raises(BundleError, match=r"no manifest.json"):
        registry.publish("m", tmp_path / "nowhere")
    assert list(registry.storage.list()) == []


@pytest.mark.parametrize("name", ["../../escape", "/etc/x", ".hidden", "a//b", "a/../b", "manifest.json", ""])
def test_a_manifest_cannot_lead_out_of_the_folder(registry: Registry, folder: Path, tmp_path: Path, name: str) -> None:
    version = registry.publish("m", folder)
    manifest = make_bundle(tmp_path / "bad", extra={name: {}}) / "manifest.json"
    with pytest.raises(BundleError, match="no name for a bundle's file"):
        registry.publish("m", tmp_path / "bad")
    registry.storage.write("m/versions/1/manifest.json", manifest.read_bytes())
    with pytest.raises(BundleError, match="no name for a bundle's file"):
        registry.fetch(version, tmp_path / "out" / "in")
    assert not (tmp_path / "out").exists()


def test_fetch_reports_what_was_added_or_taken_away(registry: Registry, folder: Path, tmp_path: Path) -> None:
    version = registry.publish("m", folder)
    registry.storage.write("m/versions/1/more/sneaked.in", b"x")
    with pytest.raises(BundleError, match=r"more/sneaked.in stored but not in the manifest"):
        registry.fetch(version, tmp_path / "out")
    registry.storage.delete(["m/versions/1/more/sneaked.in", "m/versions/1/parts/one.bin"])
    with pytest.raises(BundleError, match=r"parts/one.bin missing"):
        registry.fetch(version, tmp_path / "out")
    registry.storage.write("m/versions/1/parts/one.bin", b"\x00\x01")
    registry.storage.write("m/versions/1/manifest.json", b"\xff")
    with pytest.raises(BundleError, match="not a bundle's manifest"):
        registry.fetch(version, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_fetch_into_a_place_that_is_a_file(registry: Registry, folder: Path, tmp_path: Path) -> None:
    version = registry.publish("m", folder)
    (tmp_path / "taken").write_text("x")
    with pytest.raises(StorageError, match="taken"):
        registry.fetch(version, tmp_path / "taken")


# --- numbers


def test_a_crashed_claim_leaves_a_gap(registry: Registry, folder: Path) -> None:
    registry.publish("m", folder)
    registry.storage.write("m/claims/2.json", b'{"token": "of a publisher that died"}')
    registry.storage.write("m/versions/2/model.onnx", b"half")
    assert str(registry.publish("m", folder)) == "m@3"
    assert [info.version for info in registry.versions("m")] == [1, 3]
    with pytest.raises(NotFoundError, match="no version 2, it was begun and never finished; it has 1, 3"):
        registry.resolve("m@2")
    with pytest.raises(NotFoundError, match="never finished"):
        registry.set_champion("m", 2, expected=None, by="ada", reason="x")


def test_a_publisher_killed_between_claim_and_manifest(registry: Registry, folder: Path, tmp_path: Path) -> None:
    large = make_bundle(tmp_path / "large")
    os.truncate(large / "parts/one.bin", 4 << 30)  # Sparse: free to make, seconds to copy.
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
    assert registry._take("m", 1, "mine")
    stored = registry.storage.read("m/claims/1.json")
    assert registry._take("m", 1, "mine")
    assert not registry._take("m", 1, "another's")
    assert registry.storage.read("m/claims/1.json") == stored


def test_a_damaged_claim_belongs_to_nobody(registry: Registry, folder: Path) -> None:
    registry.storage.write("m/claims/1.json", b"\xff not json")
    assert not registry._take("m", 1, "mine")
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
        with pytest.raises(NotFoundError, match="no model 'm'"):
            call()


# --- resolving


def test_not_found_says_what_there_is_and_what_to_do(registry: Registry, folder: Path) -> None:
    with pytest.raises(
        NotFoundError, match=r"no model 'm' in the registry file://.*\(it is empty\); run tlnlp finetune"
    ):
        registry.resolve("m@champion")
    registry.publish("other", folder)
    with pytest.raises(NotFoundError, match=r"it holds other\)"):
        registry.resolve("m@1")
    registry.publish("m", folder)
    registry.publish("m", folder)
    for spec in ("m", "m@champion"):
        with pytest.raises(
            NotFoundError, match=r"no champion yet; it has 1, 2: promote one first \(tlnlp promote m@2\)"
        ):
            registry.resolve(spec)
    with pytest.raises(NotFoundError, match="no version 7; it has 1, 2"):
        registry.resolve("m@7")


def test_a_name_means_the_champion_never_the_newest(registry: Registry, folder: Path) -> None:
    for _ in range(3):
        registry.publish("m", folder)
    promote(registry, 2)
    assert registry.resolve("m").version == registry.resolve("m@champion").version == 2


# --- the alias


def test_the_first_promotion_and_the_next(registry: Registry, folder: Path) -> None:
    for _ in range(2):
        registry.publish("m", folder)
    assert registry.champion("m") is None
    first = promote(registry, 1, "the first")
    assert (first.version, first.previous, first.by, first.reason, first.forced) == (1, None, "ada", "the first", False)
    assert first.at == (MOMENT + timedelta(minutes=3)).isoformat()
    second = promote(registry, 2, "had to", forced=True)
    assert (second.version, second.previous, second.forced) == (2, 1, True)
    assert second == registry.champion("m")
    assert second.history == (first.reign,)
    stored = json.loads(registry.storage.read("m/champion.json"))
    assert (stored["version"], stored["previous"], stored["forced"], stored["by"]) == (2, 1, True, "ada")
    assert "tag" not in stored


def test_a_promotion_against_an_old_alias_is_refused(registry: Registry, folder: Path) -> None:
    for _ in range(3):
        registry.publish("m", folder)
    first = promote(registry, 1)
    promote(registry, 2)
    for expected in (None, first.tag, "", "nonsense"):
        with pytest.raises(PromotionRefusedError, match=r"m@3 .*another promotion came first \(version 2 is champion"):
            registry.set_champion("m", 3, expected=expected, by="eve", reason="x")
    assert registry.resolve("m").version == 2


def test_a_promotion_that_expects_a_champion_where_there_is_none(registry: Registry, folder: Path) -> None:
    registry.publish("m", folder)
    with pytest.raises(PromotionRefusedError, match="no champion now"):
        registry.set_champion("m", 1, expected="tag", by="eve", reason="x")
    assert registry.champion("m") is None


def test_an_alias_that_went_and_came_back_is_another(registry: Registry, folder: Path) -> None:
    for _ in range(2):
        registry.publish("m", folder)
    seen = promote(registry, 1)
    promote(registry, 2)
    registry.rollback("m", by="ada", reason="worse")
    with pytest.raises(PromotionRefusedError):
        registry.set_champion("m", 2, expected=seen.tag, by="eve", reason="x")


def test_the_champion_is_not_promoted_again(registry: Registry, folder: Path) -> None:
    registry.publish("m", folder)
    promote(registry, 1)
    with pytest.raises(PromotionRefusedError, match="champion already"):
        promote(registry, 1)


def test_rollbacks_walk_back_and_say_when_they_cannot(registry: Registry, folder: Path) -> None:
    with pytest.raises(NotFoundError, match="no model 'm'"):
        registry.rollback("m", by="ada", reason="x")
    for _ in range(4):
        registry.publish("m", folder)
    with pytest.raises(NotFoundError, match="no champion yet"):
        registry.rollback("m", by="ada", reason="x")
    for version in (1, 3, 2):
        promote(registry, version)
    back = registry.rollback("m", by="grace", reason="worse on Tuesday")
    assert (back.version, back.previous, back.by, back.reason) == (3, 1, "grace", "worse on Tuesday")
    promote(registry, 4)
    walked = [registry.rollback("m", by="grace", reason="x").version for _ in range(2)]
    assert walked == [3, 1]
    with pytest.raises(NotFoundError, match=r"no champion came before version 1.*stays champion"):
        registry.rollback("m", by="grace", reason="x")
    assert registry.resolve("m").version == 1
    assert promote(registry, 2).previous == 1


def test_no_rollback_to_a_version_that_is_gone(registry: Registry, folder: Path) -> None:
    for version in (1, 2):
        registry.publish("m", folder)
        promote(registry, version)
    registry.storage.delete_folder("m/versions/1")
    with pytest.raises(NotFoundError, match=r"no version 1, .*it has 2"):
        registry.rollback("m", by="ada", reason="x")
    assert registry.resolve("m").version == 2


def test_the_alias_remembers_a_hundred(registry: Registry, folder: Path) -> None:
    for _ in range(2):
        registry.publish("m", folder)
    for number in range(105):
        promote(registry, number % 2 + 1)
    champion = registry.champion("m")
    assert champion is not None
    assert len(champion.history) == 100
    assert [reign.version for reign in champion.history[-2:]] == [1, 2]


@pytest.mark.parametrize("damage", [b"", b"\xff", b"[]", b"3", b"{}", b'{"version": 1}'])
def test_a_damaged_alias_is_named(registry: Registry, folder: Path, damage: bytes) -> None:
    registry.publish("m", folder)
    registry.storage.write("m/champion.json", damage)
    with pytest.raises(StorageError, match=r"m/champion.json: not a champion alias"):
        registry.resolve("m")
    assert registry.resolve("m@1").version == 1


# --- many at once


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
            assert "another promotion came first" in str(error)
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
    folders = [make_bundle(tmp_path / str(number), f"weights of {number}") for number in range(PUBLISHERS)]
    published = run_at_once(_publish, [(registry.storage.uri, str(folder)) for folder in folders])
    versions = sorted(version for one in published for version in one)
    assert versions == list(range(1, 3 * PUBLISHERS + 1))
    assert [info.version for info in registry.versions("m")] == versions
    weights = [registry.storage.read(f"m/versions/{version}/model.onnx") for version in versions]
    assert sorted(weights) == sorted(f"weights of {number}".encode() for number in range(PUBLISHERS) for _ in range(3))
    for version in versions:
        fetched = registry.fetch(registry.resolve(f"m@{version}"), tmp_path / "fetched" / str(version))
        listed = json.loads((fetched / "manifest.json").read_text())["files"]["model.onnx"]["sha256"]
        assert hashlib.sha256((fetched / "model.onnx").read_bytes()).hexdigest() == listed


def test_of_racing_promotions_one_wins(registry: Registry, folder: Path) -> None:
    # Half of the models have a champion before the race, half get their first.
    for number in range(10):
        for _ in range(PUBLISHERS + 1):
            registry.publish(f"m{number}", folder)
        if number % 2:
            registry.set_champion(f"m{number}", PUBLISHERS + 1, expected=None, by="ada", reason="first")
    outcomes = run_at_once(_set_champion, [(registry.storage.uri, version + 1) for version in range(PUBLISHERS)])
    for number, wins in enumerate(zip(*outcomes, strict=True)):
        assert sum(wins) == 1
        champion = registry.champion(f"m{number}")
        assert champion is not None
        assert champion.by == f"racer {champion.version}"
        assert champion.previous == (PUBLISHERS + 1 if number % 2 else None)


# --- the rest


def test_ledgers_lie_beside_the_model(registry: Registry) -> None:
    for name, run_id, minute in (("m", "a", 1), ("m", "b", 3), ("other", "c", 2)):
        moment = MOMENT + timedelta(minutes=minute)
        uri = registry.write_ledger(name, Ledger("finetune", run_id, {}, clock=partial(moment.replace, microsecond=0)))
        assert uri == registry.storage.url(f"{name}/ledgers/{run_id}.json")
    registry.storage.write("m/training/run/state.json", b"{}")
    assert [ledger["run_id"] for ledger in registry.ledgers("m")] == ["b", "a"]
    assert [ledger["run_id"] for ledger in registry.ledgers()] == ["b", "c", "a"]
    assert registry.ledgers("unknown") == []


def test_looking_makes_no_folder(tmp_path: Path) -> None:
    registry = Registry(str(tmp_path / "registry"))
    assert registry.models() == []
    assert registry.versions("m") == []
    assert registry.ledgers() == []
    assert registry.champion("m") is None
    assert not (tmp_path / "registry").exists()


def test_the_registry_loads_no_engine() -> None:
    heavy = ("torch", "ray", "pyspark", "pyarrow", "boto3", "pydantic")
    code = f"import sys, tlnlp.registry; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
