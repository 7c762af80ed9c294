"""Fine-tuning with each way of pooling and each type of encoder, in this process: the bundle scores as torch does."""

from __future__ import annotations

import inspect
import json
from dataclasses import dataclass
from pathlib import Path

import kit
import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from train_kit import THREE, settings
from transformers import AutoModel, AutoTokenizer

from tlnlp.config import FinetuneSettings, load_settings
from tlnlp.model import bundle
from tlnlp.model.classifier import Classifier
from tlnlp.model.combine import combine
from tlnlp.model.engines.onnx_fp32 import OnnxFp32Engine
from tlnlp.model.onnx_export import PARITY_TOLERANCE, reference_probabilities
from tlnlp.model.torch_encoder import TextClassifier, load_encoder, load_weights
from tlnlp.storage.uri import local_path
from tlnlp.train.finetune import finetune
from tlnlp.train.local_executor import LocalExecutor

# From one word to more tokens than the model reads.
TEXTS = ["bread", *kit.texts(5, 31), " ".join(kit.texts(4, 32))]


@dataclass(frozen=True)
class Tuned:
    """A fine-tuned encoder: its type, how it pools, its folder before, and the folder of its bundle."""

    kind: str
    pooling: str
    encoder: Path
    bundle: Path


@pytest.fixture(scope="module", params=[("bert", "cls"), ("roberta", "mean"), ("distilbert", "cls")], ids="-".join)
def tuned(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    kind, pooling = request.param
    folder = tmp_path_factory.mktemp(kind)
    encoder = kit.make_encoder(folder / "encoder", kind, deviation=0.3)
    config = encoder / "tokenizer_config.json"
    names = ["input_ids", "token_type_ids", "attention_mask"]
    config.write_text(json.dumps(json.loads(config.read_text()) | {"model_input_names": names}))
    given = settings(folder, encoder, f"pooling={pooling}", "training.learning_rate=1e-3", steps=8)
    result = finetune(load_settings(FinetuneSettings, None, given), LocalExecutor())
    path = local_path(result.version.uri)
    assert path is not None
    return Tuned(kind, pooling, encoder, path)


def test_the_bundle_scores_as_torch_does(tuned: Tuned) -> None:
    classifier = Classifier.load(tuned.bundle, threads=1)
    spec = classifier.spec
    assert (spec.pooling, spec.classes, spec.max_length) == (tuned.pooling, THREE, 32)
    encoded = classifier.encoder.encode(TEXTS)
    assert {len(ids) for ids in encoded} >= {3, 32}
    reference = reference_probabilities(load_weights(tuned.bundle, tuned.pooling), encoded, spec.pad_token_id)
    assert np.abs(classifier.engine.predict(encoded) - reference).max() < PARITY_TOLERANCE
    both = combine(reference, classifier.ngram.predict(TEXTS), spec.encoder_weight, spec.ngram_weight)
    assert np.abs(classifier.predict(TEXTS) - both).max() < PARITY_TOLERANCE
    assert json.loads((tuned.bundle / bundle.TRAINING).read_text())["parity"] < PARITY_TOLERANCE
    # Another pooling, or the encoder as it was pretrained, is another model by far more than the tolerance.
    other = load_weights(tuned.bundle, "max")
    assert np.abs(reference_probabilities(other, encoded, spec.pad_token_id) - reference).max() > 0.01
    before = load_encoder(str(tuned.encoder), 3, tuned.pooling, 0.0, 0).eval()
    before.head.load_state_dict(load_weights(tuned.bundle, tuned.pooling).head.state_dict())
    assert np.abs(reference_probabilities(before, encoded, spec.pad_token_id) - reference).max() > 0.01


def test_token_types_are_left_to_the_encoder(tuned: Tuned) -> None:
    # The tokenizer returns token types for each encoder, also for those that do not take them.
    tokenizer, model = AutoTokenizer.from_pretrained(tuned.encoder), AutoModel.from_pretrained(tuned.bundle)
    assert "token_type_ids" in tokenizer("good bread")
    assert ("token_type_ids" in inspect.signature(model.forward).parameters) is (tuned.kind != "distilbert")
    session = onnxruntime.InferenceSession(str(tuned.bundle / bundle.GRAPH))
    assert [entry.name for entry in session.get_inputs()] == ["input_ids", "attention_mask"]


class _WithTokenTypes(nn.Module):
    """Take the token types as a third input, as graphs made by others do."""

    def __init__(self, model: TextClassifier) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        states = self.model.encoder(
            input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids
        ).last_hidden_state
        logits: Tensor = self.model.head(states[:, 0])
        return logits


@pytest.mark.filterwarnings("ignore")  # Torch's exporter warns of its own parts.
def test_a_graph_that_takes_token_types_gets_those_of_one_text(tmp_path: Path) -> None:
    model = load_encoder(str(kit.make_encoder(tmp_path / "encoder", deviation=0.3)), 3, "cls", 0.0, 1).eval()
    names, ids = ["input_ids", "attention_mask", "token_type_ids"], torch.ones((2, 8), dtype=torch.int64)
    torch.onnx.export(
        _WithTokenTypes(model),
        (ids, ids, torch.zeros_like(ids)),
        str(tmp_path / "graph.onnx"),
        dynamo=False,
        input_names=names,
        output_names=["logits"],
        dynamic_axes={name: {0: "batch", 1: "tokens"} for name in names},
        opset_version=18,
    )
    encoded = [[2, 5, 6, 3], [2, 7, 3], [2, 4, 8, 9, 10, 3]]
    reference = reference_probabilities(model, encoded, 0)
    engine = OnnxFp32Engine(tmp_path / "graph.onnx", names, threads=1)
    assert np.abs(engine.predict(encoded) - reference).max() < PARITY_TOLERANCE
    # Other token types would change the result.
    session = onnxruntime.InferenceSession(str(tmp_path / "graph.onnx"))
    given = {name: np.array([encoded[0]]) if name == "input_ids" else np.ones((1, 4), np.int64) for name in names}
    with_ones = torch.softmax(torch.from_numpy(np.asarray(session.run(None, given)[0])), dim=1).numpy()
    assert np.abs(with_ones[0] - reference[0]).max() > 0.01
