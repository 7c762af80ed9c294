"""Turn a BERT encoder that is published as an int8 ONNX graph into a Hugging Face folder with fp32 weights.

Dynamic quantisation (``onnxruntime.quantization``) replaces each matrix by int8 values, a scale and a zero point. Scale
and zero point belong to the whole tensor or to each output channel: ``weight = (quantized - zero_point) * scale``. The
rounding error stays; ``check_agreement`` checks that the network is otherwise the same.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
import transformers
from numpy.typing import NDArray
from onnx import numpy_helper
from safetensors.numpy import save_file
from tokenizers import Tokenizer
from transformers import BertConfig, BertModel

from tlnlp.errors import InputDataError
from tlnlp.model.engines.onnx_fp32 import load_onnxruntime

Array = NDArray[Any]
# Lowest cosine between networks that differ by rounding alone; e5-small-v2 reaches 0.998.
MIN_COSINE = 0.99
SPECIAL_TOKENS = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
# The exporter puts the layer into the name of a matrix product: /encoder/layer.3/attention/self/query/MatMul_quant
_PRODUCT = re.compile(r"^/(encoder/layer\.\d+/[\w/]+)/MatMul_quant$")
_PROBES = (
    "The bread was still warm at closing time.",
    "query: how do I return boots that are too small",
    "Delayed again: the 8:15 ferry left at ten, without a word of apology to anyone on the pier.",
    "passage: Shares of the company fell by 12.5 % after it had cut its forecast for the third time this year. "
    "Analysts had expected a smaller loss; the board will meet in March to decide on the dividend.",
)


@dataclass(frozen=True)
class EncoderUsage:
    """Describe how an encoder is used, as far as its graph does not hold it.

    Fields:
        heads: number of attention heads.
        max_length: longest input in tokens.
        pooling: ``mean`` or ``cls``.
        normalise: whether the pooled vector is scaled to unit length.
        prompts: texts that can precede an input, by name; the first is the default.
    """

    heads: int
    max_length: int = 512
    pooling: str = "mean"
    normalise: bool = True
    prompts: Mapping[str, str] = field(default_factory=dict)


def dequantise(graph: Path, tokenizer: Path, folder: Path, usage: EncoderUsage) -> float:
    """Write a Hugging Face BERT folder, with the files of sentence-transformers, from a graph and ``tokenizer.json``.

    Returns:
        The lowest cosine, over a few texts, between the pooled states of the graph and those of the new folder.

    Raises:
        InputDataError: the graph lacks a tensor of a BERT encoder, or holds one of another shape; or the two networks
            differ by more than rounding.
    """
    weights = read_weights(graph)
    config = _config(weights, usage.heads)
    _check_shapes(weights, config)
    folder.mkdir(parents=True, exist_ok=True)
    config.save_pretrained(folder)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    # The library lets only the owner read the file, but a cache may have several users.
    (folder / "model.safetensors").chmod(0o644)
    shutil.copyfile(tokenizer, folder / "tokenizer.json")
    _write_tokenizer_config(folder, usage.max_length)
    _write_conventions(folder, config.hidden_size, usage)
    return check_agreement(graph, folder)


def read_weights(graph: Path) -> dict[str, NDArray[np.float32]]:
    """Read the tensors of a BERT encoder, in fp32, by the names that transformers gives them.

    Raises:
        InputDataError: the file is no ONNX graph.
    """
    try:
        model = onnx.load(str(graph)).graph
    except Exception as error:  # protobuf and onnx raise classes of their own.
        raise InputDataError(f"{graph.name}: not an ONNX graph ({type(error).__name__}); take another file") from error
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.initializer}
    found = {name: array for name, array in tensors.items() if array.dtype == np.float32 and name.endswith(_PLAIN)}
    for name in tensors:
        if name.endswith("_quantized") and name.startswith("embeddings."):
            base = name.removesuffix("_quantized")
            found[base] = _dequantised(tensors, base, graph)
    for node in model.node:
        layer = _PRODUCT.search(node.name) if node.op_type == "MatMulInteger" else None
        if layer is not None and node.input[1].endswith("_quantized"):
            # The graph stores the matrix as (in, out), torch as (out, in).
            restored = _dequantised(tensors, node.input[1].removesuffix("_quantized"), graph).T
            found[layer[1].replace("/", ".") + ".weight"] = np.ascontiguousarray(restored)
    return {name: np.ascontiguousarray(array, dtype=np.float32) for name, array in found.items()}


_PLAIN = (".weight", ".bias")


def _dequantised(tensors: Mapping[str, Array], base: str, graph: Path) -> Array:
    """Return the fp32 values of a quantised tensor; scales per channel apply to the last axis."""
    missing = [part for part in ("_scale", "_zero_point") if base + part not in tensors]
    if missing:
        raise InputDataError(f"{graph.name}: {base}_quantized has no {base}{missing[0]}; take another file")
    quantized = tensors[base + "_quantized"].astype(np.int32)
    difference = quantized - tensors[base + "_zero_point"].astype(np.int32)
    return difference.astype(np.float32) * tensors[base + "_scale"].astype(np.float32)


def _config(weights: Mapping[str, Array], heads: int) -> BertConfig:
    """Derive the configuration from the shapes of the tensors; other settings are BERT's defaults."""
    needed = {
        "words": "embeddings.word_embeddings.weight",
        "positions": "embeddings.position_embeddings.weight",
        "types": "embeddings.token_type_embeddings.weight",
        "inner": "encoder.layer.0.intermediate.dense.weight",
    }
    for name in needed.values():
        if name not in weights:
            raise InputDataError(f"the graph holds no {name}, so it is no supported BERT encoder; take another file")
    words, positions, types, inner = (weights[name].shape[0] for name in needed.values())
    layers = {int(name.split(".")[2]) for name in weights if name.startswith("encoder.layer.")}
    return BertConfig(
        vocab_size=words,
        hidden_size=weights[needed["words"]].shape[1],
        num_hidden_layers=max(layers) + 1,
        num_attention_heads=heads,
        intermediate_size=inner,
        max_position_embeddings=positions,
        type_vocab_size=types,
        architectures=["BertModel"],
    )


def _check_shapes(weights: Mapping[str, Array], config: BertConfig) -> None:
    with torch.device("meta"):  # Gives names and shapes without memory for the weights.
        expected = BertModel(config, add_pooling_layer=False).state_dict()
    for name, tensor in expected.items():
        if name not in weights:
            raise InputDataError(f"the graph holds no {name}, which a BERT encoder has; take another file")
        if weights[name].shape != tuple(tensor.shape):
            raise InputDataError(
                f"the graph's {name} is of shape {weights[name].shape}, a BERT encoder's of {tuple(tensor.shape)};"
                " take another file"
            )
    unknown = sorted(weights.keys() - expected.keys())
    if unknown:
        raise InputDataError(f"the graph holds {unknown[0]}, which a BERT encoder does not have; take another file")


def _write_tokenizer_config(folder: Path, max_length: int) -> None:
    config = {f"{name}_token": token for name, token in SPECIAL_TOKENS.items()}
    _write(
        folder / "tokenizer_config.json",
        config | {"model_max_length": max_length, "tokenizer_class": "PreTrainedTokenizerFast"},
    )


def _write_conventions(folder: Path, hidden: int, usage: EncoderUsage) -> None:
    """Write the files from which sentence-transformers and tlnlp read length, pooling and prompt."""
    modules = [("", "Transformer"), ("1_Pooling", "Pooling")] + [("2_Normalize", "Normalize")] * usage.normalise
    _write(
        folder / "modules.json",
        [
            {"idx": k, "name": str(k), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for k, (path, kind) in enumerate(modules)
        ],
    )
    (folder / "1_Pooling").mkdir(exist_ok=True)
    modes = {f"pooling_mode_{mode}": False for mode in ("cls_token", "mean_tokens", "max_tokens")}
    chosen = "pooling_mode_cls_token" if usage.pooling == "cls" else "pooling_mode_mean_tokens"
    _write(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": hidden} | modes | {chosen: True})
    _write(
        folder / "config_sentence_transformers.json",
        {"prompts": dict(usage.prompts), "default_prompt_name": next(iter(usage.prompts), None)},
    )
    _write(folder / "sentence_bert_config.json", {"max_seq_length": usage.max_length, "do_lower_case": False})


def _write(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def check_agreement(graph: Path, folder: Path, texts: Sequence[str] = _PROBES) -> float:
    """Return the lowest cosine, over texts, between mean-pooled states of the graph and of the folder in torch.

    Raises:
        InputDataError: it is below 0.99, so the networks differ by more than rounding.
    """
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    model = BertModel.from_pretrained(folder, add_pooling_layer=False, dtype=torch.float32)
    model.eval()  # type: ignore[no-untyped-call]
    session = load_onnxruntime().InferenceSession(str(graph), providers=["CPUExecutionProvider"])
    cosines = []
    for text in texts:
        ids = np.array([tokenizer.encode(text).ids[: model.config.max_position_embeddings]], dtype=np.int64)
        feed = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        expected = session.run(None, {one.name: feed[one.name] for one in session.get_inputs()})[0][0].mean(axis=0)
        with torch.inference_mode():
            restored = model(torch.from_numpy(ids)).last_hidden_state[0].mean(dim=0).numpy()
        cosines.append(float(expected @ restored / (np.linalg.norm(expected) * np.linalg.norm(restored))))
    if not min(cosines) >= MIN_COSINE:
        raise InputDataError(
            f"{graph.name}: the restored encoder's states differ from the graph's (cosine {min(cosines):.3f}, at least "
            f"{MIN_COSINE}); nothing was stored, take another file"
        )
    return min(cosines)
