"""Tests of the catalogue of encoders, the lookup of their files, and the fetch into the cache."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import encoder_kit
import pytest
import yaml

from tlnlp.errors import InputDataError, StorageError, UsageError
from tlnlp.model import encoder_catalogue
from tlnlp.model.encoder_catalogue import MARKER, KnownEncoder, at_hand, known, own_folder, resolve
from tlnlp.model.encoder_download import fetch

ROOT = Path(__file__).parents[2]
Tiny = tuple[KnownEncoder, Path, Path]


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TLNLP_ENCODERS", str(tmp_path / "cache"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def tiny(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """Return an entry, its jar, and the catalogue file."""
    folder = tmp_path_factory.mktemp("tiny")
    graph, _ = encoder_kit.quantised(tiny_encoder, folder)
    tokenizer = tiny_encoder / "tokenizer.json"
    file = encoder_kit.catalogue(graph, tokenizer, folder / "encoders.yaml")
    return known(file)["tiny"], encoder_kit.jar(graph, tokenizer, folder / "tiny.jar"), file


def laid(cache: Path, name: str) -> Path:
    (cache / name).mkdir(parents=True)
    (cache / name / MARKER).write_text("{}")
    return cache / name


def test_every_entry_is_complete() -> None:
    entries = known()
    assert {"all-minilm-l6-v2", "e5-small-v2", "multilingual-e5-small"} <= entries.keys()
    for entry in entries.values():
        assert entry.package or entry.maven or entry.hub, entry.name
        assert entry.licence in ("MIT", "Apache-2.0")
        assert entry.languages
        assert 10e6 < entry.parameters < 1e9
        assert 1 <= entry.layers <= 48
        assert 128 <= entry.max_length <= 8192
        if entry.hub is not None:
            assert re.fullmatch(r"[\w-]+/[\w.-]+", entry.hub.name)
            assert entry.hub.revision is None or re.fullmatch(r"[0-9a-f]{40}", entry.hub.revision)
        if entry.maven is not None:
            assert re.fullmatch(r"[\w.]+:[\w.-]+:[\w.]+", entry.maven.artefact)
            assert all(
                re.fullmatch(r"[0-9a-f]{64}", one) for one in (entry.maven.graph_sha256, entry.maven.tokenizer_sha256)
            )
        assert entry.tried == bool(entry.package or entry.maven), (
            "encoders that come only from a hub have not been tried"
        )


def test_the_image_takes_what_the_catalogue_names() -> None:
    maven = known()["e5-small-v2"].maven
    assert maven is not None
    assert f"-Dartifact={maven.artefact}\n" in (ROOT / "deploy/images/train.Dockerfile").read_text()


def test_a_wrong_catalogue_is_explained(tiny: Tiny, tmp_path: Path) -> None:
    content = yaml.safe_load(tiny[2].read_text())
    (entry,) = content["encoders"]
    wrong = {
        "unknown key 'encoders.0.license'": [entry | {"license": "MIT"}],
        "'encoders.0.layers'": [{key: value for key, value in entry.items() if key != "layers"}],
        "is listed twice": [entry, entry],
        "the name '../up' is listed twice, or": [entry | {"name": "../up"}],
    }
    for message, entries in wrong.items():
        (tmp_path / "wrong.yaml").write_text(yaml.safe_dump({"encoders": entries}))
        with pytest.raises(UsageError, match=re.escape(message)):
            known(tmp_path / "wrong.yaml")


def test_the_cache_is_where_the_user_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("TLNLP_ENCODERS", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert encoder_catalogue.cache() == tmp_path / "home/.cache/tlnlp/encoders"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert encoder_catalogue.cache() == tmp_path / "xdg/tlnlp/encoders"
    monkeypatch.setenv("TLNLP_ENCODERS", str(tmp_path / "own"))
    assert encoder_catalogue.cache() == tmp_path / "own"


def test_what_a_name_means(cached: Path, tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (Path(resolve("all-MiniLM-L6-v2")) / "model.safetensors").exists()
    with pytest.raises(InputDataError, match="run: tlnlp encoders fetch e5-small-v2"):
        resolve("e5-small-v2")
    (cached / "e5-small-v2").mkdir(parents=True)
    assert at_hand("e5-small-v2") is None, "a folder without its marker is not complete"
    (cached / "e5-small-v2").rmdir()
    laid(cached, "e5-small-v2")
    assert resolve("E5-small-v2") == str(cached / "e5-small-v2")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "e5-small-v2").mkdir()
    assert resolve("e5-small-v2") == str(cached / "e5-small-v2"), "a folder beside us is written ./e5-small-v2"
    assert resolve("./e5-small-v2") == "./e5-small-v2"
    assert resolve("own") == "own", "no name known here may be a hub's"
    laid(cached, "own")
    assert resolve("own") == str(cached / "own"), "fetched by another catalogue"
    assert resolve("intfloat/e5-small-v2") == "intfloat/e5-small-v2"
    assert resolve(tiny_encoder.as_uri()) == resolve(str(tiny_encoder)) == str(tiny_encoder)
    assert at_hand("../own") is None


def test_what_only_this_machine_has(cached: Path, tiny_encoder: Path) -> None:
    assert own_folder(str(tiny_encoder)) == own_folder(tiny_encoder.as_uri()) == tiny_encoder
    folder = laid(cached, "e5-small-v2")
    assert own_folder("e5-small-v2") == folder
    assert own_folder("all-minilm-l6-v2") is None
    assert own_folder("intfloat/e5-small-v2") is None
    assert own_folder("s3://bucket/encoder") is None


def test_a_jar_becomes_an_encoder_once(cached: Path, tiny: Tiny) -> None:
    entry, jar, _ = tiny
    folder = fetch(entry, jar)
    assert folder == cached / "tiny" == at_hand("tiny")
    assert [path.name for path in cached.iterdir()] == ["tiny"], "something was left beside it"
    marker = json.loads((folder / MARKER).read_text())
    assert (marker["source"], marker["note"]) == ("maven org.example:tiny:1.0", "dequantised from int8")
    assert {"config.json", "model.safetensors", "1_Pooling/config.json"} <= marker["sha256"].keys()
    assert resolve("tiny") == str(folder)
    before = (folder / MARKER).stat().st_mtime_ns
    assert fetch(entry, jar) == folder
    assert (folder / MARKER).stat().st_mtime_ns == before, "what was at hand was fetched again"


@pytest.mark.parametrize("part", ["graph", "tokenizer"])
def test_a_wrong_digest_is_refused_and_nothing_stored(
    cached: Path, tiny: Tiny, tiny_encoder: Path, tmp_path: Path, part: str
) -> None:
    entry, jar, _ = tiny
    assert entry.maven is not None
    wrong = entry.model_copy(update={"maven": entry.maven.model_copy(update={f"{part}_sha256": "0" * 64})})
    with pytest.raises(InputDataError, match=r"not the file that the catalogue knows .* nothing was stored"):
        fetch(wrong, jar)
    assert not cached.exists() or not list(cached.iterdir())


def test_a_jar_that_is_none(cached: Path, tiny: Tiny, tmp_path: Path, tiny_encoder: Path) -> None:
    entry, _, _ = tiny
    (tmp_path / "no.jar").write_bytes(b"no zip")
    other = encoder_kit.jar(tiny_encoder / "config.json", tiny_encoder / "config.json", tmp_path / "other.jar")
    for jar in (tmp_path / "no.jar", tmp_path / "missing.jar", other):
        with pytest.raises(InputDataError, match=re.escape(str(jar))):
            fetch(entry, jar)
    assert at_hand("tiny") is None


def test_an_encoder_that_is_refused_leaves_nothing(cached: Path, tiny: Tiny) -> None:
    entry, jar, _ = tiny
    assert entry.maven is not None
    wrong = entry.model_copy(update={"maven": entry.maven.model_copy(update={"heads": 1})})
    with pytest.raises(InputDataError, match="differ from the graph's"):
        fetch(wrong, jar)
    assert not list(cached.iterdir())


def test_a_second_process_may_be_first(cached: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    from tlnlp.model import encoder_download as module

    entry, jar, _ = tiny
    monkeypatch.setattr(module, "at_hand", lambda *_: None)  # As if the other process finished after the lookup.
    first = laid(cached, "tiny")
    (first / "first").touch()
    assert fetch(entry, jar) == first
    assert (first / "first").exists()
    shutil.rmtree(first)
    (first / "rest").mkdir(parents=True)
    with pytest.raises(StorageError, match="remove what is in the way"):
        fetch(entry, jar)


def test_ways_that_are_not_there(cached: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = known()
    with pytest.raises(UsageError, match="HF_HUB_OFFLINE=0"):
        fetch(entries["e5-base-v2"])
    with pytest.raises(UsageError, match="does not come as a jar"):
        fetch(entries["e5-base-v2"], tiny[1])
    hub = entries["e5-base-v2"].hub
    assert hub is not None
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    unpinned = entries["e5-base-v2"].model_copy(update={"hub": hub.model_copy(update={"revision": None})})
    with pytest.raises(UsageError, match="--revision"):
        fetch(unpinned)


def test_without_maven_and_spark_it_says_what_to_do(
    cached: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("tlnlp.model.encoder_download.importlib.util.find_spec", lambda name: None)
    with pytest.raises(StorageError, match=r"neither mvn nor pyspark is installed.*--from PATH\.jar"):
        fetch(tiny[0])


def test_maven_is_asked_by_coordinates(
    cached: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Put a stand-in for ``mvn`` on the path, which copies the jar to the folder of its options."""
    program = tmp_path / "bin" / "mvn"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\necho "$@" > {tmp_path}/asked\nfor word in "$@"; do case "$word" in\n'
        f'-DoutputDirectory=*) cp {tiny[1]} "${{word#*=}}/tiny-1.0.jar";; esac; done\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    assert fetch(tiny[0]) == cached / "tiny"
    asked = (tmp_path / "asked").read_text()
    assert "-Dartifact=org.example:tiny:1.0" in asked
    assert "://" not in asked
    shutil.rmtree(cached / "tiny")
    program.write_text("#!/bin/sh\nexit 3\n")
    with pytest.raises(StorageError, match=r"mvn could not fetch org\.example:tiny:1\.0 \(exit code 3\)"):
        fetch(tiny[0])


def test_a_wheel_carries_the_catalogue_and_the_prices(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    made = subprocess.run(
        [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", tmp_path, ROOT],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert made.returncode == 0, made.stderr
    shutil.unpack_archive(next(tmp_path.glob("*.whl")), tmp_path / "installed", format="zip")
    code = (
        "from tlnlp.model.encoder_catalogue import catalogue_file, known; print(catalogue_file(), len(known()))\n"
        "from tlnlp.config import CostSettings; from tlnlp.runs.cost import price_of\n"
        "print(price_of(CostSettings(instance='m7i.xlarge')).usd_per_hour > 0)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "installed")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    wanted = [str(tmp_path / "installed/tlnlp/encoders.yaml"), str(len(known())), "True"]
    assert result.stdout.split() == wanted, result.stderr
