"""Tests of names and versions: publish, list, resolve, fetch."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from registry_kit import MOMENT, contents, make_bundle, promote

from tlnlp.errors import BundleError, ModelNotFoundError, StorageError, UsageError
from tlnlp.registry import ModelSpec, Registry, parse_model
from tlnlp.runs.ledger import Ledger


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


def test_versions_are_numbered_and_come_back_whole(registry: Registry, folder: Path, tmp_path: Path) -> None:
    first = registry.publish("m", folder)
    second = registry.publish("m", make_bundle(tmp_path / "other", "more labels"))
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
        (folder / "manifest.json").write_text('{"format": 1}')

    faults = {
        "no manifest.json": no_manifest,
        "model.onnx missing": file_missing,
        "notes.txt not in the manifest": file_too_many,
        "no readable JSON": no_json,
        r"manifest \(KeyError": other_json,
    }
    for number, (message, damage) in enumerate(faults.items()):
        folder = make_bundle(tmp_path / str(number))
        damage(folder)
        with pytest.raises(BundleError, match=message):
            registry.publish("m", folder)
    with pytest.raises(BundleError, match=r"no manifest.json"):
        registry.publish("m", tmp_path / "nowhere")
    assert list(registry.storage.list()) == []


@pytest.mark.parametrize("name", ["../../escape", "/etc/x", ".hidden", "a//b", "a/../b", "manifest.json", ""])
def test_a_manifest_cannot_lead_out_of_the_folder(registry: Registry, folder: Path, tmp_path: Path, name: str) -> None:
    version = registry.publish("m", folder)
    manifest = make_bundle(tmp_path / "bad", extra={name: {}}) / "manifest.json"
    with pytest.raises(BundleError, match="does not belong in a bundle"):
        registry.publish("m", tmp_path / "bad")
    registry.storage.write("m/versions/1/manifest.json", manifest.read_bytes())
    with pytest.raises(BundleError, match="does not belong in a bundle"):
        registry.fetch(version, tmp_path / "out" / "in")
    assert not (tmp_path / "out").exists()


def test_fetch_reports_what_was_added_or_taken_away(registry: Registry, folder: Path, tmp_path: Path) -> None:
    version = registry.publish("m", folder)
    registry.storage.write("m/versions/1/more/sneaked.in", b"x")
    with pytest.raises(BundleError, match=r"more/sneaked.in stored but not in the manifest"):
        registry.fetch(version, tmp_path / "out")
    registry.storage.delete(["m/versions/1/more/sneaked.in", "m/versions/1/head.safetensors"])
    with pytest.raises(BundleError, match=r"head.safetensors missing"):
        registry.fetch(version, tmp_path / "out")
    registry.storage.write("m/versions/1/head.safetensors", b"\x00\x01")
    with pytest.raises(BundleError, match=r"head.safetensors has 2 bytes, and \d+ by the manifest"):
        registry.fetch(version, tmp_path / "out")
    registry.storage.write("m/versions/1/manifest.json", b"\xff")
    with pytest.raises(BundleError, match="no readable JSON"):
        registry.fetch(version, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_fetch_into_a_place_that_is_a_file(registry: Registry, folder: Path, tmp_path: Path) -> None:
    version = registry.publish("m", folder)
    (tmp_path / "taken").write_text("x")
    with pytest.raises(StorageError, match="taken"):
        registry.fetch(version, tmp_path / "taken")


def test_not_found_says_what_there_is_and_what_to_do(registry: Registry, folder: Path) -> None:
    with pytest.raises(
        ModelNotFoundError, match=r"no model 'm' in the registry file://.*\(it is empty\); run tlnlp finetune"
    ):
        registry.resolve("m@champion")
    registry.publish("other", folder)
    with pytest.raises(ModelNotFoundError, match=r"it holds other\)") as caught:
        registry.resolve("m@1")
    assert caught.value.exit_code == 2  # A mistake of the caller: the storage did not fail.
    registry.publish("tickets", folder)
    with pytest.raises(ModelNotFoundError, match=r"it holds tickets, other\); .* check the name and the address"):
        registry.resolve("tickts")
    registry.publish("m", folder)
    registry.publish("m", folder)
    for spec in ("m", "m@champion"):
        with pytest.raises(
            ModelNotFoundError, match=r"no champion yet; it has 1, 2: promote one first \(tlnlp promote m@2\)"
        ):
            registry.resolve(spec)
    with pytest.raises(ModelNotFoundError, match="no version 7; it has 1, 2"):
        registry.resolve("m@7")


def test_a_name_means_the_champion_never_the_newest(registry: Registry, folder: Path) -> None:
    for _ in range(3):
        registry.publish("m", folder)
    promote(registry, 2)
    assert registry.resolve("m").version == registry.resolve("m@champion").version == 2


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
