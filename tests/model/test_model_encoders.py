"""Tests that every supported type of encoder loads, trains, exports, and gives the same result alone and in a batch."""

from __future__ import annotations

import shutil
from pathlib import Path

import kit
import numpy as np
import pytest
import torch

from tlnlp.config import TrainingSettings
from tlnlp.errors import InputDataError
from tlnlp.model import bundle
from tlnlp.model.encoder_conventions import POSITIONS, EncoderSource, read_conventions
from tlnlp.model.engines.onnx_fp32 import OnnxFp32Engine
from tlnlp.model.onnx_export import check_parity, export_graph, reference_probabilities
from tlnlp.model.tokenize import Encoder, TokenIds, pad
from tlnlp.model.torch_encoder import DROPOUT, TextClassifier, load_encoder, save_tokenizer
from tlnlp.train.fit.encoder_fit import EncoderFit
from tlnlp.train.fit.trainer import Trainer

CPU = torch.device("cpu")
TEXTS = [*kit.texts(6, 11), "bread", " ".join(kit.texts(8, 12))]
KINDS = sorted(kit.ENCODERS)


@pytest.fixture(scope="module", params=KINDS)
def encoder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return kit.make_encoder(tmp_path_factory.mktemp("encoder") / request.param, request.param, deviation=0.3)


@pytest.fixture(scope="module")
def source(encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> EncoderSource:
    pad_token_id = save_tokenizer(str(encoder), tmp_path_factory.mktemp("tokenizer"))
    return EncoderSource(str(encoder), read_conventions(encoder), pad_token_id)


@pytest.fixture(scope="module")
def encoded(encoder: Path, source: EncoderSource) -> list[list[int]]:
    """Return token ids of texts, from the shortest to the longest that the encoder accepts."""
    ids = Encoder.load(encoder / bundle.TOKENIZER, source.conventions.max_length, 0.5).encode(TEXTS)
    assert max(map(len, ids)) == 128
    assert min(map(len, ids)) == 3
    return ids


def loaded(source: EncoderSource, attention: str = "sdpa") -> TextClassifier:
    return load_encoder(source.name, 3, "mean", 0.0, 5, attention).eval()


def test_each_supported_type_is_tested() -> None:
    assert set(kit.ENCODERS) == set(POSITIONS) == set(DROPOUT)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_a_text_reads_alike_alone_and_padded(source: EncoderSource, encoded: list[list[int]], attention: str) -> None:
    model = loaded(source, attention)
    with torch.inference_mode():
        logits = model(*(torch.from_numpy(part) for part in pad(encoded, source.pad_token_id)))
    together = torch.softmax(logits.double(), dim=1).numpy()
    alone = reference_probabilities(model, encoded, source.pad_token_id)
    assert np.abs(together - alone).max() < 1e-5
    # Without this check a model with the same output for all texts would pass.
    assert np.ptp(alone[:, 0]) > 0.01
    assert np.abs(reference_probabilities(loaded(source), encoded, source.pad_token_id) - alone).max() < 1e-5


def test_the_graph_reads_as_torch_does(source: EncoderSource, encoded: list[list[int]], tmp_path: Path) -> None:
    model = loaded(source)
    names = export_graph(model, tmp_path / bundle.GRAPH)
    engine = OnnxFp32Engine(tmp_path / bundle.GRAPH, names, threads=1)
    # The engine pads the texts of a batch; torch reads each text alone.
    assert check_parity(model, engine, encoded, source.pad_token_id) < 1e-5
    alone = np.concatenate([engine.predict([ids]) for ids in encoded])
    assert np.abs(engine.predict(encoded) - alone).max() < 1e-5
    assert np.ptp(alone[:, 0]) > 0.01


@pytest.mark.parametrize("objective", ["contrast", "classify"])
def test_a_step_moves_all_but_the_word_embeddings(
    source: EncoderSource, encoded: list[list[int]], objective: str
) -> None:
    recipe = TrainingSettings(batch_size=8, learning_rate=1e-3, precision="fp32", dropout=0.0, tuned_share=1.0)
    targets = np.eye(2, dtype=np.float32)[np.arange(len(encoded)) % 2]
    weights = np.ones(len(encoded), dtype=np.float32)
    tokens = TokenIds.of(encoded)
    fit = EncoderFit(source, (1, 1), tokens, targets, weights, tokens, 2, 16, 32, objective, 3, recipe)  # type: ignore[arg-type]
    learner = Trainer(fit, CPU)
    before = {name: tensor.clone() for name, tensor in learner.model.encoder.named_parameters()}
    learner.begin()
    for step, batch in learner.batches(0):
        assert np.isfinite(learner.step(step, batch))
    learner.finish()
    words = learner.model.encoder.get_input_embeddings().weight  # type: ignore[operator]
    for name, tensor in learner.model.encoder.named_parameters():
        # A pooler is not used, and the biases of keys cancel in the softmax.
        if "pooler" in name or ("bias" in name and "k" in name.split(".")[-2]):
            continue
        assert torch.equal(tensor, before[name]) == (tensor is words), name
    assert learner.predict(fit.held_out).shape == (len(encoded), 2)


def test_dropout_is_as_asked_for(source: EncoderSource, encoded: list[list[int]]) -> None:
    def differs(dropout: float) -> bool:
        model = load_encoder(source.name, 3, "mean", dropout, 5).train()
        rates = {module.p for module in model.modules() if isinstance(module, torch.nn.Dropout)}
        assert rates == {dropout}
        ids = torch.tensor([encoded[0]])
        states = [model(ids, torch.ones_like(ids), features=True) for _ in range(2)]
        return not torch.equal(*states)

    assert differs(0.3)
    assert not differs(0.0)


def test_a_pickle_is_never_opened(encoder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(encoder, tmp_path / "bin"))
    model = load_encoder(str(folder), 2, "mean", None, 0)
    (folder / "model.safetensors").unlink()
    torch.save(model.encoder.state_dict(), folder / "pytorch_model.bin")
    with pytest.raises(InputDataError, match="transformers cannot open it"):
        load_encoder(str(folder), 2, "mean", None, 0)
    with pytest.raises(
        InputDataError, match=r"weights are a pickle \(pytorch_model\.bin\).*; save them as safetensors"
    ):
        read_conventions(folder)
