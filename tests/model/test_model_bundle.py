"""Tests of the bundle: any difference from the sealed files is refused, and the error names the file."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import kit
import pytest

from tlnlp.data.text import text_sha256
from tlnlp.errors import BundleError
from tlnlp.model import bundle
from tlnlp.model.bundle_spec import BundleSpec, read_spec
from tlnlp.model.classifier import Classifier
from tlnlp.model.learned_texts import learned_digests, read_learned
from tlnlp.model.profile import ENGINE_NAMES, Profile

FILES = sorted(bundle.ALLOWED - {bundle.STUDENT})


@pytest.fixture
def folder(tiny_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_bundle, tmp_path / "copy"))


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place % len(data)] ^= 1
    path.write_bytes(data)


def edit_manifest(folder: Path, **values: object) -> None:
    path = folder / bundle.MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_a_sound_bundle_verifies_to_its_digest(tiny_bundle: Path, folder: Path) -> None:
    assert bundle.verify(folder) == bundle.verify(tiny_bundle) == Classifier.load(folder, threads=1).digest
    assert sorted(path.name for path in folder.iterdir()) == sorted([*FILES, bundle.MANIFEST])


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("place", [0, 97, -1])
def test_a_flipped_bit_names_its_file(folder: Path, name: str, place: int) -> None:
    flip(folder / name, place)
    with pytest.raises(BundleError, match=rf": {name} was altered"):
        Classifier.load(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_truncated_file_and_a_missing_file_are_named(folder: Path, name: str) -> None:
    (folder / name).write_bytes((folder / name).read_bytes()[:-1])
    with pytest.raises(BundleError, match=rf": {name} was altered"):
        bundle.verify(folder)
    (folder / name).unlink()
    with pytest.raises(BundleError, match=rf": {name} is missing") as caught:
        bundle.verify(folder)
    assert caught.value.exit_code == 4


@pytest.mark.parametrize("name", ["pytorch_model.bin", "modeling_custom.py", "deep/model.onnx"])
def test_an_extra_file_is_named(folder: Path, name: str) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"x")
    with pytest.raises(BundleError, match=rf": {name} is not in the manifest"):
        Classifier.load(folder)


def test_a_flipped_bit_anywhere_in_the_manifest(folder: Path) -> None:
    original = (folder / bundle.MANIFEST).read_bytes()
    for place in range(0, len(original), 23):
        flip(folder / bundle.MANIFEST, place)
        with pytest.raises(BundleError):
            bundle.verify(folder)
        (folder / bundle.MANIFEST).write_bytes(original)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b"7", b'{"format": 1}', b'{"format": 1, "files": 3}', b"\xff\xfe"]
)
def test_a_manifest_that_is_none(folder: Path, content: bytes) -> None:
    (folder / bundle.MANIFEST).write_bytes(content)
    with pytest.raises(BundleError, match=r"manifest\.json"):
        bundle.verify(folder)


def test_a_manifest_that_is_missing_too_large_or_of_another_format(folder: Path) -> None:
    edit_manifest(folder, format=2)
    with pytest.raises(BundleError, match=r"format 2, not 1; use the tlnlp version that made it"):
        bundle.verify(folder)
    (folder / bundle.MANIFEST).write_bytes(b" " * (bundle.MANIFEST_LIMIT_BYTES + 1))
    with pytest.raises(BundleError, match="too large"):
        bundle.verify(folder)
    (folder / bundle.MANIFEST).unlink()
    with pytest.raises(BundleError, match="no readable manifest"):
        bundle.verify(folder)
    with pytest.raises(BundleError, match="no readable manifest"):
        Classifier.load(folder / "nowhere")


def test_a_manifest_cannot_widen_the_list_nor_leave_the_folder(folder: Path) -> None:
    files = json.loads((folder / bundle.MANIFEST).read_text())["files"]
    for name in ("../outside.bin", "weights.pkl"):
        edit_manifest(folder, files=files | {name: {"sha256": "0" * 64, "size_bytes": 1}})
        with pytest.raises(BundleError, match="does not belong in a bundle"):
            bundle.verify(folder)


def test_sealing_asks_for_the_closed_list(folder: Path) -> None:
    (folder / bundle.MANIFEST).unlink()
    (folder / "notes.txt").write_text("x")
    with pytest.raises(BundleError, match=r"'notes\.txt' does not belong"):
        bundle.seal(folder)
    (folder / "notes.txt").unlink()
    (folder / bundle.HEAD).unlink()
    with pytest.raises(BundleError, match=r"head\.safetensors is missing"):
        bundle.seal(folder)
    assert not (folder / bundle.MANIFEST).exists()


def test_sealing_twice_gives_the_same_digest(folder: Path) -> None:
    assert bundle.seal(folder) == bundle.verify(folder) == bundle.seal(folder)


def test_a_description_of_another_format(folder: Path) -> None:
    values = json.loads((folder / bundle.SPEC).read_text())
    for altered, message in (
        ({"format": 9}, "bundle format 9 is not 1"),
        ({"colour": "red"}, "not a bundle description"),
    ):
        (folder / bundle.SPEC).write_text(json.dumps(values | altered))
        bundle.seal(folder)
        with pytest.raises(BundleError, match=message):
            Classifier.load(folder)


def test_the_description_survives_writing(tiny_bundle: Path) -> None:
    spec = read_spec(tiny_bundle)
    assert BundleSpec.from_json(spec.to_json()) == spec
    assert spec.classes == ("negative", "positive")


@pytest.mark.parametrize("engine", ENGINE_NAMES)
def test_scoring_needs_only_the_files_of_its_engine(folder: Path, tmp_path: Path, engine: str) -> None:
    slim = tmp_path / "slim"
    slim.mkdir()
    for name, data in bundle.scoring_files(folder, engine).items():
        (slim / name).write_bytes(data)
    assert "model.safetensors" not in {path.name for path in slim.iterdir()}
    assert bundle.verify(slim, only=engine) == bundle.verify(folder)
    expected = Classifier.load(folder, threads=1, profile=Profile(engine)).predict(["warm bread"])
    assert (
        Classifier.load(slim, threads=1, profile=Profile(engine), scoring_only=True).predict(["warm bread"]) == expected
    ).all()
    with pytest.raises(BundleError, match="is missing"):
        bundle.verify(slim)
    flip(slim / bundle.NGRAM, 5)
    with pytest.raises(BundleError, match=r"ngram\.safetensors was altered"):
        Classifier.load(slim, profile=Profile(engine), scoring_only=True)


def test_trained_on(folder: Path) -> None:
    assert len(read_learned(folder).labelled) == 40
    for content in ("[]", "{}", "{"):
        (folder / bundle.TRAINING).write_text(content)
        with pytest.raises(BundleError, match=r"training\.json cannot be read"):
            read_learned(folder)


def test_trained_on_is_about_texts_as_the_model_reads_them(folder: Path) -> None:
    assert read_spec(folder).max_chars == 400
    texts = [row["text"] for row in kit.labelled(40, 0)]
    spelt = [f" {text.replace(' ', '<br/>')}\n" for text in texts]
    long = ["warm bread " * 40 + middle * 900 + "late ferry " * 40 for middle in "xy"]
    # The kit's bundle is like those of earlier versions: it holds digests of raw texts.
    learned = read_learned(folder)
    assert (learned.labels_among(texts), learned.labels_among(spelt)) == (40, 0)
    training = learned_digests([*texts, long[0]], ["cold  boots"], 400)
    (folder / bundle.TRAINING).write_bytes(bundle.dump_json(training))
    learned = read_learned(folder)
    assert (learned.labels_among(texts), learned.labels_among(spelt), learned.labels_among(long)) == (40, 40, 2)
    assert learned.documents_among(["cold boots", "cold\nboots", "Cold boots", *long]) == 2
    # An earlier version of tlnlp reads the same file, and knows the texts by their raw digests.
    assert set(training["text_sha256"]) == {text_sha256(text) for text in (*texts, long[0])}
