"""Small real parts for tests: an encoder of a few thousand weights, a bundle around it, labelled texts."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
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
# Scoring tests run on a cluster too, when told where it is and what its workers unpack.
_ARCHIVE = os.environ.get("TLNLP_TEST_ARCHIVE")
SPARK = SparkSettings(
    master=os.environ.get("TLNLP_TEST_MASTER", "local[2]"),
    driver_memory="1g",
    conf={"spark.sql.shuffle.partitions": "3"}
    | s3_server.spark_classpath()
    | ({"spark.archives": _ARCHIVE, "spark.executor.memory": "1g", "spark.cores.max": "2"} if _ARCHIVE else {}),
)


def texts(count: int, seed: int = 0) -> list[str]:
    """Different texts of 3 to 40 known words."""
    generator = np.random.default_rng(seed)
    return [
        " ".join([*generator.choice(WORDS, generator.integers(3, 40)), f"n{seed}x{number}"]) for number in range(count)
    ]


def labelled(count: int, seed: int = 0, classes: Sequence[str] = CLASSES) -> list[dict[str, Any]]:
    """Rows whose label is told by a word of the text."""
    marks = ("bad", "good", "cold", "warm", "night", "bread")
    return [
        {
            "id": f"{seed}-{number}",
            "text": f"{marks[number % len(classes)]} {text}",
            "label": classes[number % len(classes)],
        }
        for number, text in enumerate(texts(count, seed))
    ]


def write_jsonl(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def make_encoder(folder: Path) -> Path:
    """A BERT of two layers, 32 wide, with random weights and a word-piece tokenizer of its own."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast, set_seed

    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS, *"abcdefghijklmnopqrstuvwxyz0123456789.,!?"]
    pieces += [f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz0123456789"]
    vocabulary = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])]
    )
    set_seed(7)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=128,
    )
    folder.mkdir(parents=True, exist_ok=True)
    BertModel(config).save_pretrained(folder)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )
    fast.save_pretrained(folder)
    return folder


def make_bundle(
    encoder: Path, folder: Path, classes: Sequence[str] = CLASSES, seed: int = 0, max_length: int = 64
) -> Path:
    """A sealed bundle with untrained weights (drawn with the seed) and a real n-gram view."""
    from tlnlp.data.text import prepare, text_sha256
    from tlnlp.model import bundle
    from tlnlp.model.encode import Encoder
    from tlnlp.model.ngram import fit_ngram
    from tlnlp.model.reference import load_encoder, save_tokenizer
    from tlnlp.train.assemble import write_bundle

    folder.mkdir(parents=True, exist_ok=True)
    pad_token_id = save_tokenizer(str(encoder), folder)
    spec = bundle.BundleSpec(
        classes=tuple(classes),
        encoder=str(encoder),
        pooling="mean",
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
    model = load_encoder(str(encoder), len(classes), "mean", 0.0, seed)
    view = fit_ngram(prepared, targets, len(classes), seed, features=spec.ngram_features)
    training = {"text_sha256": sorted(text_sha256(row["text"]) for row in rows)}
    encoded = Encoder.load(folder / bundle.TOKENIZER, max_length, 0.5).encode(prepared)
    write_bundle(folder, spec, dict(model.state_dict()), view, training, encoded)
    return folder
