"""Alter tensors of a bundle: values, shapes and headers. A change takes the tensors of a sound file by their names."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from tlnlp.model import bundle

Alteration = Callable[[Path], None]


def tensors_with(name: str, change: Callable[[dict[str, Any]], object]) -> Alteration:
    def alter(folder: Path) -> None:
        tensors = {key: value.copy() for key, value in load_file(folder / name).items()}
        changed = change(tensors)
        save_file(changed if isinstance(changed, dict) else tensors, folder / name)

    return alter


def _place(key: str, value: float) -> Callable[[dict[str, Any]], object]:
    def change(tensors: dict[str, Any]) -> None:
        tensors[key].reshape(-1)[tensors[key].size // 2] = value

    return change


def ngram_header(change: Callable[[dict[str, Any]], None]) -> Alteration:
    def alter(folder: Path) -> None:
        data = (folder / bundle.NGRAM).read_bytes()
        size = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + size])
        change(header)
        text = json.dumps(header).encode()
        (folder / bundle.NGRAM).write_bytes(len(text).to_bytes(8, "little") + text + data[8 + size :])

    return alter


def _first_weight_of(folder: Path) -> str:
    return next(name for name, value in load_file(folder / bundle.ENCODER).items() if value.dtype == np.float32)


def encoder_with(value: float) -> Alteration:
    return lambda folder: tensors_with(bundle.ENCODER, _place(_first_weight_of(folder), value))(folder)


_INT8_MATRIX = "encoder/layer_0/ffn/linear_0/weight"
_WIDE = np.zeros((4096, 3), np.float32)
NGRAM_CHANGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "without rows": lambda _: {"weights": np.zeros((0, 2), np.float32), "bias": np.zeros(2, np.float32)},
    "without classes": lambda _: {"weights": np.zeros((4096, 0), np.float32), "bias": np.zeros(0, np.float32)},
    "NaN weight": _place("weights", float("nan")),
    "infinite weight": _place("weights", float("inf")),
    "NaN bias": _place("bias", float("nan")),
    "more classes": lambda tensors: {"weights": _WIDE, "bias": np.zeros(3, np.float32)},
    "more biases": lambda tensors: tensors | {"bias": np.zeros(3, np.float32)},
    "transposed": lambda tensors: tensors | {"weights": np.ascontiguousarray(tensors["weights"].T)},
    "fewer rows": lambda tensors: tensors | {"weights": tensors["weights"][:-1].copy()},
    "flat": lambda tensors: tensors | {"weights": tensors["weights"].reshape(-1)},
    "float64": lambda tensors: {key: value.astype(np.float64) for key, value in tensors.items()},
    "float16": lambda tensors: {key: value.astype(np.float16) for key, value in tensors.items()},
    "a tensor more": lambda tensors: tensors | {"more": np.zeros(1, np.float32)},
    "a tensor less": lambda tensors: {"weights": tensors["weights"]},
    "turned sign": lambda tensors: tensors | {"weights": -tensors["weights"]},
}
INT8_CHANGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "turned sign": lambda tensors: tensors | {_INT8_MATRIX: -tensors[_INT8_MATRIX]},
    "another weight": _place(_INT8_MATRIX, 5),
    "a tensor less": lambda tensors: {name: value for name, value in tensors.items() if name != _INT8_MATRIX},
    "a tensor more": lambda tensors: tensors | {"more": np.zeros(1, np.float32)},
    "float weights": lambda tensors: tensors | {_INT8_MATRIX: tensors[_INT8_MATRIX].astype(np.float32)},
    "transposed": lambda tensors: tensors | {_INT8_MATRIX: np.ascontiguousarray(tensors[_INT8_MATRIX].T)},
    "NaN scale": _place(f"{_INT8_MATRIX}_scale", float("nan")),
    "other scale": _place(f"{_INT8_MATRIX}_scale", 1e-30),
}
HEADER_CHANGES: dict[str, Callable[[dict[str, Any]], None]] = {
    "overlapping": lambda header: header["weights"].update(data_offsets=[0, 32_768]),
    "beyond the end": lambda header: header["weights"].update(data_offsets=[1 << 40, (1 << 40) + 32_768]),
    "negative offset": lambda header: header["weights"].update(data_offsets=[-8, 32_760]),
    "huge shape": lambda header: header["weights"].update(shape=[1 << 62, 4]),
    "negative shape": lambda header: header["weights"].update(shape=[-4096, -2]),
    "unknown type": lambda header: header["weights"].update(dtype="F8_E4M3"),
}
HEAD_CHANGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "NaN": _place("weight", float("nan")),
    "more classes": lambda _: {"weight": np.zeros((3, 32), np.float32), "bias": np.zeros(3, np.float32)},
    "without bias": lambda tensors: {"weight": tensors["weight"]},
    "scalar": lambda tensors: tensors | {"weight": np.ones((), np.float32)},
}
