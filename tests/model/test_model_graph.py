"""Tests that the exported graph agrees with torch, and that plain ONNX Runtime and transformers open a bundle."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import kit
import numpy as np
import pytest
from numpy.typing import NDArray

from tlnlp.errors import BundleError, InputDataError
from tlnlp.model import bundle
from tlnlp.model.bundle_spec import read_spec
from tlnlp.model.classifier import Classifier
from tlnlp.model.combine import softmax
from tlnlp.model.engines.onnx_fp32 import OnnxFp32Engine
from tlnlp.model.onnx_export import PARITY_TOLERANCE, check_parity, reference_probabilities
from tlnlp.model.torch_encoder import load_encoder, load_weights, save_tokenizer

TEXTS = [*kit.texts(12, 8), "bread", " ".join(kit.texts(6, 9))]


@pytest.fixture(scope="module")
def classifier(tiny_bundle: Path) -> Classifier:
    return Classifier.load(tiny_bundle, threads=1)


@pytest.fixture(scope="module")
def encoded(classifier: Classifier) -> list[list[int]]:
    return classifier.encoder.encode(TEXTS)


def engine_of(folder: Path) -> OnnxFp32Engine:
    spec = read_spec(folder)
    return OnnxFp32Engine(folder / bundle.GRAPH, spec.input_names, threads=1)


def test_graph_and_torch_agree(tiny_bundle: Path, classifier: Classifier, encoded: list[list[int]]) -> None:
    model = load_weights(tiny_bundle, classifier.spec.pooling)
    difference = check_parity(model, classifier.engine, encoded, classifier.spec.pad_token_id)
    assert difference < PARITY_TOLERANCE / 10
    recorded = json.loads((tiny_bundle / bundle.TRAINING).read_text())["parity"]
    assert 0 <= recorded < PARITY_TOLERANCE


def test_a_graph_of_other_weights_is_refused(
    tiny_encoder: Path, tiny_bundle: Path, encoded: list[list[int]], tmp_path: Path
) -> None:
    other = kit.make_bundle(tiny_encoder, tmp_path / "other", seed=1)
    model = load_weights(tiny_bundle, "mean")
    with pytest.raises(BundleError, match=r"the exported graph differs from torch by .* the bundle was not made"):
        check_parity(model, engine_of(other), encoded, 0)


def test_other_pooling_is_another_model(tiny_bundle: Path, classifier: Classifier, encoded: list[list[int]]) -> None:
    with pytest.raises(BundleError, match="differs from torch"):
        check_parity(load_weights(tiny_bundle, "cls"), classifier.engine, encoded, 0)


def test_a_file_that_is_no_graph(tiny_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"nothing of the kind")
    with pytest.raises(BundleError, match="ONNX Runtime cannot open the graph"):
        OnnxFp32Engine(tmp_path / "model.onnx", ("input_ids", "attention_mask"))


def test_plain_onnx_runtime(tiny_bundle: Path, classifier: Classifier, encoded: list[list[int]]) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(tiny_bundle / "model.onnx"))
    assert [entry.name for entry in session.get_inputs()] == ["input_ids", "attention_mask"]
    assert [entry.name for entry in session.get_outputs()] == ["logits"]
    for ids in encoded:
        feed = {"input_ids": np.array([ids]), "attention_mask": np.ones((1, len(ids)), dtype=np.int64)}
        logits = np.asarray(session.run(["logits"], feed)[0], dtype=np.float64)
        assert softmax(logits) == pytest.approx(classifier.engine.predict([ids]), abs=1e-6)


def plain_transformers(folder: Path, texts: Sequence[str]) -> NDArray[np.float64]:
    """Classify texts with transformers alone, as in the README; the texts must be too short to be cut."""
    import torch
    from safetensors.torch import load_file
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    encoder, head = AutoModel.from_pretrained(folder).eval(), load_file(folder / "head.safetensors")
    batch = tokenizer(list(texts), padding=True, return_tensors="pt")
    mask = batch["attention_mask"].unsqueeze(-1)
    with torch.inference_mode():
        states = encoder(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state
    pooled = (states * mask).sum(1) / mask.sum(1)
    return np.asarray((pooled @ head["weight"].T + head["bias"]).numpy(), dtype=np.float64)


def test_plain_transformers(tiny_bundle: Path, classifier: Classifier) -> None:
    texts = [text for text in TEXTS if len(text) < 150]
    assert len(texts) >= 5
    ours = classifier.engine.predict(classifier.encoder.encode(texts))
    assert softmax(plain_transformers(tiny_bundle, texts)) == pytest.approx(ours, abs=1e-5)


def test_reference_is_a_text_at_a_time(tiny_bundle: Path, encoded: list[list[int]]) -> None:
    model = load_weights(tiny_bundle, "mean")
    together = reference_probabilities(model, encoded, 0)
    assert (reference_probabilities(model, encoded[3:4], 0)[0] == together[3]).all()


def test_the_head_is_drawn_from_the_seed(tiny_encoder: Path) -> None:
    one, same, other = (load_encoder(str(tiny_encoder), 3, "mean", None, seed) for seed in (1, 1, 2))
    assert bool((one.head.weight == same.head.weight).all())
    assert not bool((one.head.weight == other.head.weight).all())


def test_weights_that_a_checkpoint_lacks_are_drawn_from_the_seed(tiny_encoder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = Path(shutil.copytree(tiny_encoder, tmp_path / "bare"))
    tensors = load_file(folder / "model.safetensors")
    without_pooler = {name: tensor for name, tensor in tensors.items() if "pooler" not in name}
    assert len(without_pooler) < len(tensors)
    save_file(without_pooler, folder / "model.safetensors", metadata={"format": "pt"})
    one, same = (load_encoder(str(folder), 2, "mean", None, seed=5).state_dict() for _ in range(2))
    assert all(bool((one[name] == same[name]).all()) for name in one)


def test_what_is_no_encoder(tmp_path: Path, tiny_encoder: Path) -> None:
    with pytest.raises(InputDataError, match=r"missing' is not on this machine; give a folder"):
        load_encoder(str(tmp_path / "missing"), 2, "mean", None, 0)
    for source in (str(tmp_path), tmp_path.as_uri()):
        with pytest.raises(InputDataError, match=r"transformers cannot open it .* give a folder with config\.json"):
            load_encoder(source, 2, "mean", None, 0)
        with pytest.raises(InputDataError, match="transformers cannot open it"):
            save_tokenizer(source, tmp_path)
    assert load_encoder(tiny_encoder.as_uri(), 2, "mean", None, 0).head.weight.shape == (2, 32)
