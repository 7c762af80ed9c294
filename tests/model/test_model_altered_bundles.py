"""Tests that a bundle is believed only when its meaning is sound: an altered one is refused, whatever its digests."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import alterations
import numpy as np
import pytest

from tlnlp.data.label_faults import LABEL_CHARS
from tlnlp.errors import BundleError
from tlnlp.model import bundle, bundle_values, classifier, golden_texts
from tlnlp.model.bundle_spec import read_spec
from tlnlp.model.classifier import Classifier
from tlnlp.model.combine import combine
from tlnlp.model.encoder_conventions import POOLINGS
from tlnlp.model.engines.onnx_fp32 import OnnxFp32Engine
from tlnlp.model.profile import ONNX_FP32
from tlnlp.registry import ModelVersion, Registry


@pytest.fixture
def folder(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A sound bundle, where a registry would have it."""
    return Path(shutil.copytree(tiny_bundle, tmp_path / "registry" / "m" / "versions" / "1"))


@pytest.fixture
def untried(monkeypatch: pytest.MonkeyPatch) -> set[tuple[str, str, int]]:
    """Let this process forget the bundles that it has tried."""
    tried = set[tuple[str, str, int]]()
    monkeypatch.setattr(classifier, "_tried", tried)
    return tried


def test_there_are_many_alterations() -> None:
    assert len(alterations.ALTERATIONS) > len(alterations.FETCHED) > 150


@pytest.mark.parametrize("name", alterations.ALTERATIONS)
def test_an_altered_bundle_is_refused_and_its_file_named(folder: Path, tmp_path: Path, name: str) -> None:
    alterations.ALTERATIONS[name](folder)
    alterations.reseal(folder)
    with pytest.raises(BundleError) as caught:
        Classifier.load(folder, threads=1)
    assert name.split(" ")[0] in str(caught.value)
    assert (caught.value.exit_code, len(str(caught.value)) < 1_200) == (4, True)
    if name in alterations.FETCHED:
        registry = Registry(str(tmp_path / "registry"))
        with pytest.raises(BundleError) as caught:
            registry.fetch(ModelVersion("m", 1, registry.storage.url("m/versions/1")), tmp_path / "fetched")
        assert name.split(" ")[0] in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value"), [("encoder_weight", "-5.0"), ("max_length", "1000"), ("pad_token_id", "97"), ("pooling", "'sum'")]
)
def test_the_message_names_the_value(folder: Path, key: str, value: str) -> None:
    alterations.edit_json(folder / bundle.SPEC, **{key: json.loads(value.replace("'", '"'))})
    alterations.reseal(folder)
    with pytest.raises(BundleError, match=rf"bundle\.json: {key} is {value}[;,].*fetch the bundle from the registry"):
        Classifier.load(folder)


@pytest.mark.parametrize("name", ["../model.onnx", "/etc/passwd", "Model.onnx", "MODEL.ONNX", "a/model.onnx", "", "."])
def test_a_manifest_with_another_name(folder: Path, tmp_path: Path, name: str) -> None:
    manifest = json.loads((folder / bundle.MANIFEST).read_text())
    manifest["files"][name] = manifest["files"][bundle.GRAPH]
    (folder / bundle.MANIFEST).write_text(json.dumps(manifest))
    refused_everywhere(folder, tmp_path, "does not belong in a bundle")


def refused_everywhere(folder: Path, tmp_path: Path, message: str) -> None:
    registry = Registry(str(tmp_path / "registry"))
    version = ModelVersion("m", 1, registry.storage.url("m/versions/1"))
    calls: Sequence[Callable[[], Any]] = (
        lambda: Classifier.load(folder),
        lambda: registry.fetch(version, tmp_path / "fetched"),
        lambda: registry.publish("other", folder),
    )
    for call in calls:
        with pytest.raises(BundleError, match=message):
            call()
    assert not (tmp_path / "fetched").exists()


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"sha256": "0" * 63, "size_bytes": 1}, "model.onnx has no sha256"),
        ({"sha256": "0" * 64, "size_bytes": "1"}, "model.onnx has no sha256"),
        ({"sha256": "0" * 64}, "model.onnx has no sha256"),
        ([], "model.onnx has no sha256"),
        (None, "model.onnx has no sha256"),
    ],
)
def test_a_manifest_with_another_entry(folder: Path, tmp_path: Path, entry: object, message: str) -> None:
    manifest = json.loads((folder / bundle.MANIFEST).read_text())
    manifest["files"][bundle.GRAPH] = entry
    (folder / bundle.MANIFEST).write_text(json.dumps(manifest))
    refused_everywhere(folder, tmp_path, message)


def test_a_manifest_that_names_a_file_twice_or_is_deep(folder: Path, tmp_path: Path) -> None:
    text = (folder / bundle.MANIFEST).read_text()
    (folder / bundle.MANIFEST).write_text(text.replace('"files": {', '"files": {"model.onnx": {}, '))
    refused_everywhere(folder, tmp_path, "no readable JSON")
    (folder / bundle.MANIFEST).write_text('{"format": 1, "files": ' + alterations.DEEP + "}")
    refused_everywhere(folder, tmp_path, r"no readable JSON|nested deeper")


def test_a_version_that_is_a_link_is_not_fetched(folder: Path, tmp_path: Path) -> None:
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    registry = Registry(str(tmp_path / "registry"))
    with pytest.raises(BundleError, match="is a symbolic link"):
        registry.fetch(ModelVersion("m", 1, registry.storage.url("m/versions/1")), tmp_path / "fetched")


def test_a_file_that_is_larger_than_its_manifest_says_is_not_copied(folder: Path, tmp_path: Path) -> None:
    with (folder / bundle.ENCODER).open("ab") as file:
        file.truncate(1 << 40)  # A sparse file.
    registry = Registry(str(tmp_path / "registry"))
    with pytest.raises(BundleError, match=r"model\.safetensors has 1,099,511,627,776 bytes"):
        registry.fetch(ModelVersion("m", 1, registry.storage.url("m/versions/1")), tmp_path / "fetched")
    with pytest.raises(BundleError, match=r"model\.safetensors was altered"):
        Classifier.load(folder)


def test_a_sound_bundle_loads_and_holds_its_golden_texts(
    folder: Path, tmp_path: Path, untried: set[tuple[str, str, int]]
) -> None:
    registry = Registry(str(tmp_path / "registry"))
    fetched = registry.fetch(ModelVersion("m", 1, registry.storage.url("m/versions/1")), tmp_path / "fetched")
    loaded = Classifier.load(fetched, threads=1)
    assert untried == {(loaded.digest, ONNX_FP32, 0)}
    golden = json.loads((folder / bundle.GOLDEN).read_text())
    assert tuple(golden["texts"]) == golden_texts.TEXTS
    assert np.abs(loaded.predict(golden["texts"]) - np.asarray(golden["combined"])).max() < 1e-6
    assert np.ptp(golden["encoder"], axis=0).min() > 0.001  # Equal probabilities would prove nothing.


def test_an_older_bundle_without_golden_texts_loads(
    folder: Path, tiny_bundle: Path, untried: set[tuple[str, str, int]]
) -> None:
    (folder / bundle.GOLDEN).unlink()
    bundle.seal(folder)
    older, texts = Classifier.load(folder, threads=1), ["warm bread", "never cold", ""]
    assert untried == {(older.digest, ONNX_FP32, 0)}
    assert (older.predict(texts) == Classifier.load(tiny_bundle, threads=1).predict(texts)).all()
    alterations.ALTERATIONS["model.onnx computes NaN"](folder)
    bundle.seal(folder)
    with pytest.raises(BundleError, match=r"model\.onnx: some probabilities are not finite"):
        Classifier.load(folder)


def test_a_process_tries_a_bundle_once(
    folder: Path, untried: set[tuple[str, str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []
    predict = OnnxFp32Engine.predict

    def counted(self: OnnxFp32Engine, encoded: Sequence[Any]) -> Any:
        read.append(len(encoded))
        return predict(self, encoded)

    monkeypatch.setattr(OnnxFp32Engine, "predict", counted)
    for _ in range(3):
        Classifier.load(folder, threads=1)
    assert read == [len(golden_texts.TEXTS)]


@pytest.mark.parametrize(("share", "refused"), [(0.5, False), (-0.5, False), (2.0, True), (-2.0, True)])
def test_the_tolerance(folder: Path, untried: set[tuple[str, str, int]], share: float, refused: bool) -> None:
    spec, loaded = read_spec(folder), Classifier.load(folder, threads=1)
    encoder, ngram = loaded.views(golden_texts.TEXTS)
    moved = encoder + np.array([1.0, -1.0]) * share * golden_texts.TOLERANCE
    combined = combine(moved, ngram, spec.encoder_weight, spec.ngram_weight)
    golden = golden_texts.GoldenTexts(spec.classes, golden_texts.TEXTS, moved, ngram, combined)
    (folder / bundle.GOLDEN).write_bytes(bundle.dump_json(golden.to_json()))
    bundle.seal(folder)
    if not refused:
        assert Classifier.load(folder, threads=1).digest != loaded.digest
        return
    with pytest.raises(BundleError, match=r"model\.onnx: this machine computes 0\.\d+ for class \d of golden text \d+"):
        Classifier.load(folder, threads=1)


def test_values_that_training_can_write_are_allowed() -> None:
    assert bundle_values.CLASS_CHARS >= LABEL_CHARS
    values = {"max_length": 8192, "head_share": 0, "max_chars": 100, "prompt": "query: ", "ngram_weight": 0.0}
    for pooling in POOLINGS:
        bundle_values.check_values(values | {"pooling": pooling, "encoder_weight": 5.0}, "bundle.json")
