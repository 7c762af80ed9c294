"""Make small real parts for tests: an encoder of a few thousand weights, a bundle with it, labelled texts."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import s3_server

from tlnlp.config import SparkSettings

WORDS = [
    *("good", "bad", "fine", "poor", "warm", "cold", "bread", "ferry", "boots", "night"),
    *("never", "always", "the", "a", "it", "was", "not", "very"),
]
CLASSES = ("negative", "positive")
# With these variables scoring tests run on a cluster: its master, and the archive that its workers unpack.
_ARCHIVE = os.environ.get("TLNLP_TEST_ARCHIVE")
SPARK = SparkSettings(
    master=os.environ.get("TLNLP_TEST_MASTER", "local[2]"),
    driver_memory="1g",
    conf={"spark.sql.shuffle.partitions": "3"}
    | s3_server.spark_classpath()
    | ({"spark.archives": _ARCHIVE, "spark.executor.memory": "1g", "spark.cores.max": "2"} if _ARCHIVE else {}),
)
# Figures of a made-up cross-validation, as a report has them.
CROSS_VALIDATION: dict[str, Any] = {
    "n": 200,
    "accuracy": 0.9,
    "accuracy_interval": [0.85, 0.94],
    "macro_f1": 0.89,
    "macro_f1_interval": [0.84, 0.93],
}


def texts(count: int, seed: int = 0) -> list[str]:
    """Return distinct texts of 3 to 40 known words."""
    generator = np.random.default_rng(seed)
    return [
        " ".join([*generator.choice(WORDS, generator.integers(3, 40)), f"n{seed}x{number}"]) for number in range(count)
    ]


def labelled(count: int, seed: int = 0, classes: Sequence[str] = CLASSES) -> list[dict[str, Any]]:
    """Return rows with labels; the first word of a text determines its label."""
    marks = ("bad", "good", "cold", "warm", "night", "bread")
    return [
        {
            "id": f"{seed}-{number}",
            "text": f"{marks[number % len(classes)]} {text}",
            "label": classes[number % len(classes)],
        }
        for number, text in enumerate(texts(count, seed))
    ]


def write_jsonl(path: Path, rows: Sequence[Mapping[Any, Any]]) -> Path:
    """Write rows as JSON Lines; return the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


_SHAPE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
# Class and shape of the configuration of each supported type of encoder: two layers, width 32, up to 128 tokens.
ENCODERS: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("BertConfig", _SHAPE | {"max_position_embeddings": 128}),
    "roberta": ("RobertaConfig", _SHAPE | {"max_position_embeddings": 130}),
    "xlm-roberta": ("XLMRobertaConfig", _SHAPE | {"max_position_embeddings": 130}),
    "mpnet": ("MPNetConfig", _SHAPE | {"max_position_embeddings": 130}),
    "distilbert": (
        "DistilBertConfig",
        {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64, "max_position_embeddings": 128},
    ),
    # One layer of each kind of attention; the local one covers less than a text.
    "modernbert": (
        "ModernBertConfig",
        _SHAPE | {"max_position_embeddings": 128, "local_attention": 8, "global_attn_every_n_layers": 2},
    ),
}


def spark_unpacks_zstd() -> bool:
    """Return whether this Spark reads lines that are compressed by zstd; 4.0 does not, and a night says so."""
    from pyspark import __version__

    return not __version__.startswith("4.0.")


def make_encoder(
    folder: Path, kind: str = "bert", lowercase: bool = True, deviation: float = 0.02, layers: int = 2
) -> Path:
    """Write an encoder with random weights of this standard deviation, and a word-piece tokenizer.

    With a deviation other than the default, the gains of layer norms are random, too, so that states differ in length.
    """
    import torch
    import transformers
    from transformers import AutoModel, PreTrainedTokenizerFast, set_seed

    tokenizer = word_pieces(padding=1 if kind in ("roberta", "xlm-roberta", "mpnet") else 0, lowercase=lowercase)
    ids = {name: tokenizer.token_to_id(f"[{name.upper()}]") for name in ("pad", "cls", "sep")}
    special = {"pad_token_id": ids["pad"], "bos_token_id": ids["cls"], "eos_token_id": ids["sep"]}
    name, shape = ENCODERS[kind]
    set_seed(7)
    shape = shape | {"n_layers" if kind == "distilbert" else "num_hidden_layers": layers}
    shape = {"vocab_size": tokenizer.get_vocab_size(), "initializer_range": deviation} | special | shape
    config = getattr(transformers, name)(**shape)
    folder.mkdir(parents=True, exist_ok=True)
    model = AutoModel.from_config(config)  # type: ignore[no-untyped-call]
    if deviation != 0.02:
        for name, parameter in model.named_parameters():
            if "norm" in name.lower() and name.endswith("weight"):
                torch.nn.init.uniform_(parameter, 0.5, 2.0)
    model.save_pretrained(folder)
    fast = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )
    fast.save_pretrained(folder)
    return folder


def word_pieces(padding: int, lowercase: bool) -> Any:
    """Return a tokenizer of ``WORDS`` and single letters; ``padding`` is the id of its padding token."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    special = ["[UNK]", "[CLS]", "[SEP]"]
    special.insert(padding, "[PAD]")
    pieces = [*special, *WORDS, *"abcdefghijklmnopqrstuvwxyz0123456789.,!?"]
    pieces += [f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz0123456789"]
    vocabulary = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])]
    )
    return tokenizer


def write_conventions(
    folder: Path,
    pooling: str | Sequence[str] = "mean",
    normalise: bool = False,
    prompt: str | None = None,
    lower_case: bool = False,
) -> Path:
    """Write the files of sentence-transformers that describe how an encoder is used into its folder."""
    kinds = {"": "models.Transformer", "1_Pooling": "models.Pooling"}
    kinds |= {"2_Normalize": "models.Normalize"} if normalise else {}
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.{kind}"}
        for i, (path, kind) in enumerate(kinds.items())
    ]
    prompts = {} if prompt is None else {"default_prompt_name": "query", "prompts": {"query": prompt, "other": "no: "}}
    files: dict[str, object] = {
        "modules.json": modules,
        "1_Pooling/config.json": {"embedding_dimension": 32, "pooling_mode": pooling},
        "config_sentence_transformers.json": prompts,
        "sentence_bert_config.json": {"max_seq_length": 16, "do_lower_case": lower_case},
    }
    (folder / "1_Pooling").mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    return folder


def make_bundle(
    encoder: Path,
    folder: Path,
    classes: Sequence[str] = CLASSES,
    seed: int = 0,
    max_length: int = 64,
    **changes: Any,
) -> Path:
    """Write a sealed bundle: an encoder with its conventions and an untrained head, and a fitted n-gram view.

    ``changes`` replace values of its description. A student that they describe has the first layers of the encoder.
    """
    from tlnlp.data.text import prepare, text_sha256
    from tlnlp.model import bundle
    from tlnlp.model.bundle_spec import BundleSpec
    from tlnlp.model.bundle_writer import export_encoder, finish_bundle
    from tlnlp.model.encoder_conventions import read_conventions
    from tlnlp.model.ngram import fit_ngram
    from tlnlp.model.student import save_student
    from tlnlp.model.tokenize import Encoder
    from tlnlp.model.torch_encoder import load_encoder, save_tokenizer
    from tlnlp.train.fit.trainer import keep_layers

    folder.mkdir(parents=True, exist_ok=True)
    pad_token_id, conventions = save_tokenizer(str(encoder), folder), read_conventions(encoder)
    spec = BundleSpec(
        classes=tuple(classes),
        encoder=str(encoder),
        pooling=conventions.pooling,
        prompt=conventions.prompt,
        normalise=conventions.normalise,
        lower_case=conventions.lower_case,
        max_length=max_length,
        head_share=0.5,
        max_chars=400,
        pad_token_id=pad_token_id,
        input_names=("input_ids", "attention_mask"),
        encoder_weight=1.0,
        ngram_weight=0.5,
        ngram_features=1 << 12,
    )
    rows = labelled(40, seed, classes)
    prepared = [prepare(row["text"], spec.max_chars) for row in rows]
    targets = [list(classes).index(row["label"]) for row in rows]
    model = load_encoder(str(encoder), len(classes), conventions.pooling, 0.0, seed, normalise=conventions.normalise)
    view = fit_ngram(prepared, targets, len(classes), seed, features=spec.ngram_features)
    training = {"text_sha256": sorted(text_sha256(row["text"]) for row in rows)}
    encoded = Encoder.load(
        folder / bundle.TOKENIZER, max_length, 0.5, conventions.prompt, conventions.lower_case
    ).encode(prepared)
    parity = export_encoder(folder, spec, dict(model.state_dict()), encoded)
    if changes.get("student") is not None:
        keep_layers(model.encoder, range(changes["student"].layers))
        save_student(folder, dict(model.state_dict()), changes["student"].layers)
    finish_bundle(folder, replace(spec, **changes), view, training | {"parity": parity})
    return folder
