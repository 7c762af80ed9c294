"""Tests that an int8 graph is turned back into the encoder it was made from, or is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import encoder_kit
import onnx
import pytest
import torch
from onnx import numpy_helper
from safetensors.torch import load_file
from transformers import AutoModel, AutoTokenizer

from tlnlp.errors import InputDataError
from tlnlp.model import encoder_catalogue
from tlnlp.model.dequantise import EncoderUsage, check_agreement, dequantise, read_weights
from tlnlp.model.encoder_conventions import read_conventions
from tlnlp.model.torch_encoder import load_encoder

USE = EncoderUsage(heads=2, max_length=128, prompts={"query": "query: ", "passage": "passage: "})


@pytest.fixture(scope="module")
def graph_and_before(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return encoder_kit.quantised(tiny_encoder, tmp_path_factory.mktemp("quantised"))


@pytest.fixture(scope="module")
def graph(graph_and_before: tuple[Path, Path]) -> Path:
    return graph_and_before[0]


@pytest.fixture(scope="module")
def tokenizer(tiny_encoder: Path) -> Path:
    return tiny_encoder / "tokenizer.json"


def changed(graph: Path, path: Path, change: Callable[[Any], None]) -> Path:
    model = onnx.load(str(graph))
    change(model.graph)
    onnx.save(model, str(path))
    return path


def without(name: str) -> Callable[[Any], None]:
    def change(graph: Any) -> None:
        (position,) = (k for k, tensor in enumerate(graph.initializer) if tensor.name == name)
        del graph.initializer[position]

    return change


def test_every_tensor_comes_back_but_for_rounding(
    graph_and_before: tuple[Path, Path], tokenizer: Path, tmp_path: Path
) -> None:
    graph, before = graph_and_before
    assert dequantise(graph, tokenizer, tmp_path / "made", USE) >= 0.99
    wanted, found = load_file(before / "model.safetensors"), load_file(tmp_path / "made" / "model.safetensors")
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert found[name].dtype == torch.float32
        # Half of one of the 255 steps between the smallest and the largest value of a tensor or a channel.
        step = float(tensor.max() - tensor.min().clamp(max=0)) / 200 + 1e-6
        assert float((found[name] - tensor).abs().max()) <= step, name


def test_a_folder_opens_in_transformers_as_in_tlnlp(graph: Path, tokenizer: Path, tmp_path: Path) -> None:
    folder = tmp_path / "made"
    dequantise(graph, tokenizer, folder, USE)
    fast = AutoTokenizer.from_pretrained(folder)
    assert fast.is_fast
    assert (fast.pad_token, fast.cls_token, fast.sep_token) == ("[PAD]", "[CLS]", "[SEP]")
    assert (fast.pad_token_id, fast.model_max_length) == (0, 128)
    assert AutoModel.from_pretrained(folder).config.num_attention_heads == 2
    how = read_conventions(folder)
    assert (how.pooling, how.prompt, how.normalise, how.max_length) == ("mean", "query: ", True, 128)
    assert load_encoder(str(folder), 3, "mean", None, 0).head.weight.shape == (3, 32)
    prompts = json.loads((folder / "config_sentence_transformers.json").read_text())
    assert prompts == {"prompts": {"query": "query: ", "passage": "passage: "}, "default_prompt_name": "query"}
    assert json.loads((folder / "1_Pooling" / "config.json").read_text())["pooling_mode_mean_tokens"] is True
    modules = json.loads((folder / "modules.json").read_text())
    assert [one["type"].rpartition(".")[2] for one in modules] == ["Transformer", "Pooling", "Normalize"]
    assert json.loads((folder / "sentence_bert_config.json").read_text())["max_seq_length"] == 128


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("encoder.layer.1.attention.self.key.bias", "holds no encoder.layer.1.attention.self.key.bias"),
        ("embeddings.word_embeddings.weight_quantized", "holds no embeddings.word_embeddings.weight"),
        ("embeddings.position_embeddings.weight_scale", "has no embeddings.position_embeddings.weight_scale"),
    ],
)
def test_a_graph_that_lacks_a_tensor_is_refused(
    graph: Path, tokenizer: Path, tmp_path: Path, name: str, message: str
) -> None:
    broken = changed(graph, tmp_path / "broken.onnx", without(name))
    with pytest.raises(InputDataError, match=message):
        dequantise(broken, tokenizer, tmp_path / "made", USE)


def test_a_tensor_of_another_shape_is_refused(graph: Path, tokenizer: Path, tmp_path: Path) -> None:
    def cut(held: Any) -> None:
        (bias,) = (one for one in held.initializer if one.name == "encoder.layer.0.output.dense.bias")
        bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias)[:-1], bias.name))

    broken = changed(graph, tmp_path / "broken.onnx", cut)
    with pytest.raises(InputDataError, match=r"output\.dense\.bias is of shape \(31,\), a BERT encoder's of \(32,\)"):
        dequantise(broken, tokenizer, tmp_path / "made", USE)


def test_weights_of_another_network_are_refused(graph: Path, tokenizer: Path, tmp_path: Path) -> None:
    with pytest.raises(InputDataError, match=r"differ from the graph's \(cosine"):  # Heads are not in the graph.
        dequantise(graph, tokenizer, tmp_path / "made", EncoderUsage(heads=1))
    dequantise(graph, tokenizer, tmp_path / "right", USE)
    assert check_agreement(graph, tmp_path / "right", ["good bread"]) >= 0.99


def test_what_is_no_graph_is_refused(tmp_path: Path) -> None:
    (tmp_path / "no.onnx").write_bytes(b"not a graph")
    with pytest.raises(InputDataError, match=r"no\.onnx: not an ONNX graph"):
        read_weights(tmp_path / "no.onnx")


def test_the_real_encoder() -> None:
    folder = encoder_catalogue.at_hand("e5-small-v2")
    if folder is None:
        pytest.skip("e5-small-v2 is not at hand and was NOT TESTED: tlnlp encoders fetch e5-small-v2")
    marker = json.loads((folder / encoder_catalogue.MARKER).read_text())
    assert marker["name"] == "e5-small-v2"
    model = load_encoder("e5-small-v2", 2, "mean", 0.0, 0)
    entry = encoder_catalogue.known()["e5-small-v2"]
    embeddings = sum(p.numel() for n, p in model.encoder.named_parameters() if not n.startswith("pooler"))
    assert embeddings == pytest.approx(entry.parameters, rel=0.01)
    config: Any = model.encoder.config
    assert config.num_hidden_layers == entry.layers
    tokenizer = AutoTokenizer.from_pretrained(folder)
    texts = ["query: the film was wonderful", "query: a great movie", "query: the invoice is overdue"]
    with torch.inference_mode():
        pooled = [model.eval()(**_tokens(tokenizer, text), features=True)[0] for text in texts]
    like, unlike = (torch.cosine_similarity(pooled[0], other, dim=0) for other in pooled[1:])
    assert like > unlike + 0.05


def _tokens(tokenizer: Any, text: str) -> dict[str, torch.Tensor]:
    found = tokenizer(text, return_tensors="pt")
    return {name: found[name] for name in ("input_ids", "attention_mask")}


def test_a_folder_made_twice_is_the_same(graph: Path, tokenizer: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        dequantise(graph, tokenizer, tmp_path / name, USE)
    for path in (tmp_path / "one").rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes()
