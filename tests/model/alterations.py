"""Alter a bundle in many ways, and rewrite its manifest so that every digest matches: only the meaning is wrong.

Each alteration takes the folder of a sound bundle. Its name starts with the file that the error must name.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from graph_alterations import GRAPH_CHANGES, fewer_token_ids, graph, turned_weights, weights_with, whole_graph_twice
from tensor_alterations import (
    HEAD_CHANGES,
    HEADER_CHANGES,
    INT8_CHANGES,
    NGRAM_CHANGES,
    Alteration,
    encoder_with,
    ngram_header,
    tensors_with,
)

from tlnlp.model import bundle
from tlnlp.model.profile import CTRANSLATE2_INT8

DEEP = "[" * 5_000 + "]" * 5_000


def reseal(folder: Path) -> None:
    """List every file of the folder in the manifest, whatever its name, with the digest and size that it has."""
    files = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != bundle.MANIFEST:
            data = path.read_bytes()
            files[path.relative_to(folder).as_posix()] = {
                "sha256": hashlib.sha256(data).hexdigest(),
                "size_bytes": len(data),
            }
    (folder / bundle.MANIFEST).write_text(json.dumps({"format": 1, "files": files}))


def edit_json(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


# --- bundle.json

_SPEC_VALUES: dict[str, list[object]] = {
    "encoder_weight": [-5, -0.001, float("nan"), float("inf"), 1e300, "1", True, None, [1]],
    "ngram_weight": [-0.5, float("nan"), float("-inf"), {}],
    "classes": [
        *([], ["negative"], ["negative", "negative"], ["", "positive"], [" ", "positive"], ["negative", 1], "np"),
        *(["negative", "positive", "more"], ["positive", "negative"], ["negative", "x" * 2_000], None),
        *(["negative", "\ud800"], [["negative"], ["positive"]]),
    ],
    "pooling": ["sum", "", None, ["mean"]],
    "max_length": [0, -1, 2, 40.5, True, 1 << 40, 1_000, "64"],
    "head_share": [-0.1, 1.5, float("nan"), "half"],
    "max_chars": [0, -400, 1 << 60, 400.0, None],
    "pad_token_id": [-1, 97, 1_000_000, 0.0],
    "input_names": [["input_ids"], ["input_ids", "attention_mask", "more"], ["input_ids"] * 2, "input_ids", [1, 2]],
    "ngram_features": [0, -4096, 4097, 1 << 40, True],
    "prompt": [5, "x" * 20_000, None],
    "normalise": [1, "yes"],
    "lower_case": [0, None],
    "engine": ["", "onnx", None, 1, ["onnx-fp32"]],
    "encoder": ["", 7, "x" * 5_000],
    "format": [2, None, "1"],
    "colour": ["red"],
}


def _with_value(key: str, value: object) -> Alteration:
    return lambda folder: edit_json(folder / bundle.SPEC, **{key: value})


def _spec_values() -> Iterator[tuple[str, Alteration]]:
    for key, values in _SPEC_VALUES.items():
        for number, value in enumerate(values):
            yield f"bundle.json {key} {number}", _with_value(key, value)


def _no_view_counts(folder: Path) -> None:
    edit_json(folder / bundle.SPEC, encoder_weight=0, ngram_weight=0.0)


def _without_a_key(folder: Path) -> None:
    values = json.loads((folder / bundle.SPEC).read_text())
    del values["max_chars"]
    (folder / bundle.SPEC).write_text(json.dumps(values))


def _a_key_twice(folder: Path) -> None:
    text = (folder / bundle.SPEC).read_text()
    (folder / bundle.SPEC).write_text(text.replace("{", '{"encoder_weight": 1.0, ', 1))


def _written(name: str, content: str | bytes) -> Alteration:
    data = content.encode() if isinstance(content, str) else content
    return lambda folder: _write(folder / name, data)


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


# --- files that hold less


def _cut(name: str, share: float) -> Alteration:
    def alter(folder: Path) -> None:
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: int(len(data) * share)])

    return alter


# --- the tokenizer


def _json_values(name: str, change: Callable[[dict[str, Any]], object]) -> Alteration:
    def alter(folder: Path) -> None:
        values = json.loads((folder / name).read_text())
        change(values)
        (folder / name).write_text(json.dumps(values))

    return alter


_TOKENIZER: dict[str, Callable[[dict[str, Any]], object]] = {
    "ids beyond the embedding": lambda values: values["model"]["vocab"].update(unheard=97),
    "huge id": lambda values: values["model"]["vocab"].update(unheard=(1 << 32) - 1),
    "negative id": lambda values: values["model"]["vocab"].update(unheard=-1),
    "without vocabulary": lambda values: values["model"].update(vocab={}),
    "without model": lambda values: values.pop("model"),
    "unknown model": lambda values: values["model"].update(type="Pickle"),
}


def _turned(vocabulary: dict[str, int]) -> dict[str, int]:
    """Give the tokens after the special ones each other's ids."""
    last = max(vocabulary.values())
    return {token: number if number < 4 else last + 4 - number for token, number in vocabulary.items()}


# --- golden texts


def _turned_rows(values: dict[str, Any]) -> None:
    for name in ("encoder", "ngram", "combined"):
        values[name] = [row[::-1] for row in values[name]]


_GOLDEN: dict[str, Callable[[dict[str, Any]], object]] = {
    "NaN": lambda values: values["encoder"][0].__setitem__(0, float("nan")),
    "negative": lambda values: values["ngram"].__setitem__(0, [-0.5, 1.5]),
    "sums to two": lambda values: values["combined"].__setitem__(0, [1.0, 1.0]),
    "a text less": lambda values: values["texts"].pop(),
    "a row less": lambda values: values["encoder"].pop(),
    "a column more": lambda values: values["encoder"][0].append(0.0),
    "words": lambda values: values["encoder"][0].__setitem__(0, "half"),
    "no texts": lambda values: values.update(texts=[], encoder=[], ngram=[], combined=[]),
    "a long text": lambda values: values["texts"].__setitem__(0, "x" * 5_000),
    "a number for a text": lambda values: values["texts"].__setitem__(0, 1),
    "many texts": lambda values: values.update(texts=["x"] * 10_000),
    "a key less": lambda values: values.pop("ngram"),
    "other classes": lambda values: values.update(classes=["positive", "negative"]),
    "engines a list": lambda values: values.update(engines=[1]),
    "engines a row less": lambda values: values["engines"][CTRANSLATE2_INT8].pop(),
    "other combination": lambda values: values.update(combined=values["ngram"]),
}


# --- files


def _linked(name: str) -> Alteration:
    def alter(folder: Path) -> None:
        outside = folder.parent / f"outside-{name}"
        (folder / name).rename(outside)
        (folder / name).symlink_to(outside)

    return alter


def _piped(folder: Path) -> None:
    """Put a pipe in the place of a file; reading it would wait for ever."""
    (folder / bundle.NGRAM).unlink()
    os.mkfifo(folder / bundle.NGRAM)


def _extra(name: str) -> Alteration:
    def alter(folder: Path) -> None:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"x")

    return alter


ALTERATIONS: dict[str, Alteration] = {
    **dict(_spec_values()),
    "bundle.json no view counts": _no_view_counts,
    "bundle.json without a key": _without_a_key,
    "bundle.json a key twice": _a_key_twice,
    "bundle.json a list": _written(bundle.SPEC, "[]"),
    "bundle.json deep": _written(bundle.SPEC, '{"format": ' + DEEP + "}"),
    "bundle.json large": _written(bundle.SPEC, b" " * (17 << 20)),
    "bundle.json a number of many digits": _written(bundle.SPEC, '{"format": ' + "9" * 10_000 + "}"),
    "bundle.json not UTF-8": _written(bundle.SPEC, b"\xff\xfe{}"),
    **{f"ngram.safetensors {name}": tensors_with(bundle.NGRAM, change) for name, change in NGRAM_CHANGES.items()},
    **{f"ngram.safetensors header {name}": ngram_header(change) for name, change in HEADER_CHANGES.items()},
    "ngram.safetensors empty": _written(bundle.NGRAM, b""),
    "ngram.safetensors endless header": _written(bundle.NGRAM, b"\xff" * 64),
    "ngram.safetensors deep header": _written(bundle.NGRAM, (10_000).to_bytes(8, "little") + DEEP.encode()),
    "ngram.safetensors cut": _cut(bundle.NGRAM, 0.5),
    **{f"head.safetensors {name}": tensors_with(bundle.HEAD, change) for name, change in HEAD_CHANGES.items()},
    "model.safetensors NaN": encoder_with(float("nan")),
    "model.safetensors infinite": encoder_with(float("-inf")),
    "model.safetensors cut": _cut(bundle.ENCODER, 0.9),
    **{f"encoder_int8.safetensors {name}": tensors_with(bundle.INT8, change) for name, change in INT8_CHANGES.items()},
    "encoder_int8.safetensors cut": _cut(bundle.INT8, 0.9),
    "encoder_int8.safetensors empty": _written(bundle.INT8, b""),
    **{f"model.onnx {name}": graph(change) for name, change in GRAPH_CHANGES.items()},
    "model.onnx twice": whole_graph_twice,
    "model.onnx empty": _written(bundle.GRAPH, b""),
    "model.onnx no graph": _written(bundle.GRAPH, b"nothing of the kind"),
    "model.onnx cut": _cut(bundle.GRAPH, 0.7),
    "model.onnx.data cut": _cut(bundle.GRAPH_WEIGHTS, 0.5),
    "model.onnx.data empty": _written(bundle.GRAPH_WEIGHTS, b""),
    "model.onnx.data NaN": weights_with(float("nan")),
    "model.onnx.data infinite": weights_with(float("inf")),
    "model.onnx weights of turned sign": turned_weights,
    "model.onnx other tokens": _json_values(
        bundle.TOKENIZER, lambda values: values["model"].update(vocab=_turned(values["model"]["vocab"]))
    ),
    "tokenizer.json embedding": graph(fewer_token_ids),
    **{f"tokenizer.json {name}": _json_values(bundle.TOKENIZER, change) for name, change in _TOKENIZER.items()},
    "tokenizer.json no tokenizer": _written(bundle.TOKENIZER, "{}"),
    "tokenizer.json deep": _written(bundle.TOKENIZER, DEEP),
    **{f"golden_texts.json {name}": _json_values(bundle.GOLDEN, change) for name, change in _GOLDEN.items()},
    "model.onnx other golden texts": _json_values(bundle.GOLDEN, _turned_rows),
    "config.json no JSON": _written("config.json", "{"),
    "config.json a list": _written("config.json", "[1]"),
    "tokenizer_config.json deep": _written("tokenizer_config.json", DEEP),
    "training.json deep": _written(bundle.TRAINING, '{"text_sha256": ' + DEEP + "}"),
    "training.json no digests": _written(bundle.TRAINING, "{}"),
    "training.json numbers": _written(bundle.TRAINING, '{"text_sha256": [1, 2]}'),
    "training.json a text": _written(bundle.TRAINING, '{"text_sha256": "abc"}'),
    **{f"{name} is a link": _linked(name) for name in (bundle.GRAPH_WEIGHTS, bundle.SPEC, bundle.TOKENIZER)},
    "ngram.safetensors is a pipe": _piped,
    **{f"{name} is an extra file": _extra(name) for name in ("Model.onnx", "weights.pkl", "deep/x.bin", ".hidden")},
}
# What is seen only when the tokenizer and the graph are opened; all else is seen when a bundle is fetched, too.
_ONLY_LOADED = (
    "ngram.safetensors turned sign",
    "model.onnx computes",
    "model.onnx one text",
    "model.onnx unknown operator",
    "model.onnx no tensor",
    "model.onnx weights of turned",
    "model.onnx other",
    "tokenizer.json",
)
_SEEN_EARLY = ("model.onnx other width", "model.onnx other classes", "tokenizer.json is a link")
FETCHED = {
    name: alter for name, alter in ALTERATIONS.items() if not name.startswith(_ONLY_LOADED) or name in _SEEN_EARLY
}
