"""A version exported for other libraries: what its files compute, and what its card says."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import kit
import numpy as np
import pytest
import torch
import yaml
from safetensors.numpy import load_file
from transformers import AutoModel, AutoTokenizer

from tlnlp.errors import BundleError, ModelNotFoundError, UsageError
from tlnlp.model.bundle_spec import read_spec
from tlnlp.model.classifier import Classifier
from tlnlp.model.combine import Floats, softmax
from tlnlp.registry import Registry
from tlnlp.report.export import export_version
from tlnlp.report.model_card import model_card


@pytest.fixture(params=[False, True], ids=["plain", "normalised"])
def bundle(request: pytest.FixtureRequest, tiny_encoder: Path, tmp_path: Path) -> Path:
    encoder = Path(shutil.copytree(tiny_encoder, tmp_path / "encoder"))
    pooling, prompt = ("cls", "the night ") if request.param else ("mean", None)
    kit.write_conventions(encoder, pooling, normalise=request.param, prompt=prompt)
    return kit.make_bundle(encoder, tmp_path / "bundle")


def registered(folder: Path, bundle: Path) -> str:
    Registry(str(folder / "registry")).publish("moods", bundle)
    return str(folder / "registry")


def by_modules(folder: Path, texts: list[str]) -> Floats:
    """Return the probabilities that the modules of an exported folder give, as sentence-transformers runs them."""
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder)
    prompts = json.loads((folder / "config_sentence_transformers.json").read_text())
    prompt = prompts["prompts"].get(prompts["default_prompt_name"], "")
    modules = [one["path"] for one in json.loads((folder / "modules.json").read_text())]
    pooling = json.loads((folder / "1_Pooling" / "config.json").read_text())
    dense = load_file(folder / modules[-1] / "model.safetensors")
    found = []
    for text in texts:
        with torch.inference_mode():
            states = model(**tokenizer(prompt + text, return_tensors="pt")).last_hidden_state[0].numpy()
        pooled = states[0] if pooling["pooling_mode_cls_token"] else states.mean(axis=0)
        if "2_Normalize" in modules:
            pooled = pooled / np.linalg.norm(pooled)
        found.append(dense["linear.weight"] @ pooled + dense["linear.bias"])
    return softmax(np.array(found, dtype=np.float64))


def test_the_modules_compute_the_encoder_view(tmp_path: Path, bundle: Path) -> None:
    texts = kit.texts(8, seed=4)
    exported = export_version(registered(tmp_path, bundle), "moods@1", str(tmp_path / "out"))
    encoder, _ = Classifier.load(bundle, 1).views(texts)
    assert np.abs(by_modules(exported.folder, texts) - encoder).max() < 1e-4
    assert ("2_Normalize" in str(exported.files) or "3_Dense" in str(exported.files)) == read_spec(bundle).normalise
    assert not [name for name in exported.files if name.endswith((".bin", ".pkl", ".py"))]


def test_the_card(tmp_path: Path, tiny_bundle: Path) -> None:
    version = Registry(registered(tmp_path, tiny_bundle)).resolve("moods@1")
    report = {"cross_validation": kit.CROSS_VALIDATION}
    training = {"report": report, "counts": {"<b>bad": 7, "good": 1}, "unlabelled_model_text_sha256": ["0" * 32] * 9}
    card = model_card(version, read_spec(tiny_bundle), training, "moods-1")
    _, front, text = card.split("---\n", 2)
    values = yaml.safe_load(front)
    assert values["pipeline_tag"] == "text-classification"
    assert values["model-index"][0]["results"][0]["metrics"][0] == {"type": "accuracy", "value": 0.9}
    assert "180 of 200 held-out labels were predicted correctly" in text
    assert "- \\<b\\>bad: 7 labels" in text
    assert "- good: 1 label\n" in text
    assert "9 documents without labels" in text
    assert 'SentenceTransformer("moods-1")' in text
    without = model_card(version, read_spec(tiny_bundle), {}, "moods-1")
    assert "its accuracy is unknown" in without
    assert "model-index" not in without


def test_a_folder_that_is_in_use_is_left_alone(tmp_path: Path, tiny_bundle: Path) -> None:
    registry = registered(tmp_path, tiny_bundle)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("")
    with pytest.raises(UsageError, match="there is something already"):
        export_version(registry, "moods@1", str(tmp_path / "out"))
    with pytest.raises(ModelNotFoundError):
        export_version(registry, "moods@9", str(tmp_path / "other"))
    assert not (tmp_path / "other").exists()


def test_an_altered_version_is_not_exported(tmp_path: Path, tiny_bundle: Path) -> None:
    registry = registered(tmp_path, tiny_bundle)
    (tmp_path / "registry" / "moods" / "versions" / "1" / "head.safetensors").write_bytes(b"altered")
    with pytest.raises(BundleError):
        export_version(registry, "moods@1", str(tmp_path / "out"))
