"""Alter the exported graph of a bundle, or the weights that it reads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tlnlp.model import bundle


def graph(change: Callable[[Any], object]) -> Callable[[Path], None]:
    def alter(folder: Path) -> None:
        model = onnx.load_model(folder / bundle.GRAPH, load_external_data=False)
        change(model)
        (folder / bundle.GRAPH).write_bytes(model.SerializeToString())

    return alter


def _external(model: Any) -> Any:
    return next(tensor for tensor in model.graph.initializer if tensor.external_data)


def _located(key: str, value: str) -> Callable[[Any], object]:
    def change(model: Any) -> None:
        next(entry for entry in _external(model).external_data if entry.key == key).value = value

    return change


def _last_node(op: str, *, domain: str = "", **attributes: Any) -> Callable[[Any], object]:
    """Let an operator more compute the output."""

    def change(model: Any) -> None:
        for node in model.graph.node:
            node.output[:] = ["before" if name == "logits" else name for name in node.output]
        model.graph.node.append(helper.make_node(op, ["before"], ["logits"], domain=domain, **attributes))

    return change


def _zero_nan(model: Any) -> None:
    """Let the graph compute NaN from sound weights: 0 * infinity, from a mask's constant."""
    model.graph.initializer.append(numpy_helper.from_array(np.asarray(np.inf, np.float32), "endless"))
    for node in model.graph.node:
        node.output[:] = ["before" if name == "logits" else name for name in node.output]
    model.graph.node.append(helper.make_node("Sub", ["endless", "endless"], ["never"]))
    model.graph.node.append(helper.make_node("Add", ["before", "never"], ["logits"]))


def _branch(model: Any) -> None:
    body = helper.make_graph([], "body", [], [helper.make_tensor_value_info("before", TensorProto.FLOAT, None)])
    _last_node("If", then_branch=body, else_branch=body)(model)


def _loop(model: Any) -> None:
    body = helper.make_graph([], "body", [], [])
    model.graph.node.append(helper.make_node("Loop", ["", ""], [], body=body))


def _output(shape: list[str | int | None], kind: int = TensorProto.FLOAT) -> Callable[[Any], object]:
    def change(model: Any) -> None:
        model.graph.output[0].CopyFrom(helper.make_tensor_value_info("logits", kind, shape))

    return change


def _inline(value: float) -> Callable[[Any], object]:
    def change(model: Any) -> None:
        small = next(t for t in model.graph.initializer if not t.external_data and t.dims and t.data_type == 1)
        array = numpy_helper.to_array(small).copy()
        array.reshape(-1)[0] = value
        small.CopyFrom(numpy_helper.from_array(array, small.name))

    return change


def fewer_token_ids(model: Any) -> None:
    """Cut the last row of the embedding, so that the tokenizer's last id lies beyond it."""
    gather = next(node for node in model.graph.node if node.op_type == "Gather" and "input_ids" in node.input)
    table = next(tensor for tensor in model.graph.initializer if tensor.name == gather.input[0])
    table.dims[0] -= 1
    length = next(entry for entry in table.external_data if entry.key == "length")
    length.value = str(int(length.value) - 4 * table.dims[1])


def _one_text(model: Any) -> None:
    for value in model.graph.input:
        value.type.tensor_type.shape.dim[0].dim_value = 1


GRAPH_CHANGES: dict[str, Callable[[Any], object]] = {
    "operator of another domain": _last_node("Gelu", domain="com.microsoft"),
    "operator of a domain of its own": _last_node("Run", domain="evil"),
    "another domain imported": lambda model: model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3)),
    "branch": _branch,
    "loop": _loop,
    "function": lambda model: model.functions.append(
        helper.make_function("local", "F", ["x"], ["y"], [helper.make_node("Abs", ["x"], ["y"])], [])
    ),
    "training information": lambda model: model.training_info.add(),
    "sparse weights": lambda model: model.graph.sparse_initializer.add(),
    "weights above": _located("location", "../model.onnx.data"),
    "weights at a hard path": _located("location", "/etc/passwd"),
    "weights in another file": _located("location", "tokenizer.json"),
    "weights at an empty path": _located("location", ""),
    "weights beyond the end": _located("offset", str(1 << 40)),
    "negative offset": _located("offset", "-4"),
    "offset in words": _located("offset", "zero"),
    "shorter weights": _located("length", "4"),
    "other width": lambda model: _external(model).dims.__setitem__(0, 7),
    "negative width": lambda model: _external(model).dims.__setitem__(0, -7),
    "endless width": lambda model: _external(model).dims.__setitem__(0, (1 << 63) - 1),
    "bfloat16": lambda model: setattr(_external(model), "data_type", TensorProto.BFLOAT16),
    "texts for weights": lambda model: setattr(_external(model), "data_type", TensorProto.STRING),
    "NaN in the graph": _inline(float("nan")),
    "infinity in the graph": _inline(float("inf")),
    "other classes": _output(["batch", 3]),
    "classes of any number": _output(["batch", "classes"]),
    "flat output": _output(["batch"]),
    "output of float64": _output(["batch", 2], TensorProto.DOUBLE),
    "two outputs": lambda model: model.graph.output.add().CopyFrom(model.graph.output[0]),
    "no output": lambda model: model.graph.ClearField("output"),
    "renamed input": lambda model: setattr(model.graph.input[0], "name", "ids"),
    "input of floats": lambda model: setattr(model.graph.input[0].type.tensor_type, "elem_type", 1),
    "input more": lambda model: model.graph.input.add().CopyFrom(
        helper.make_tensor_value_info("more", TensorProto.INT64, ["batch", "tokens"])
    ),
    "two tensors of a name": lambda model: model.graph.initializer.add().CopyFrom(model.graph.initializer[0]),
    "no tensor at all": lambda model: model.graph.ClearField("initializer"),
    "computes NaN": _zero_nan,
    "computes the contrary": _last_node("Neg"),
    "one text at a time": _one_text,
    "unknown operator": _last_node("Nonsense"),
}


def whole_graph_twice(folder: Path) -> None:
    path = folder / bundle.GRAPH
    path.write_bytes(path.read_bytes() * 2)


def weights_with(value: float) -> Callable[[Path], None]:
    """Set a number within the largest tensor of the graph's weights."""

    def alter(folder: Path) -> None:
        data = np.fromfile(folder / bundle.GRAPH_WEIGHTS, np.float32)
        data[8] = value
        data.tofile(folder / bundle.GRAPH_WEIGHTS)

    return alter


def turned_weights(folder: Path) -> None:
    """Turn the sign of the last large matrix of the graph."""
    model = onnx.load_model(folder / bundle.GRAPH, load_external_data=False)
    tensor = [tensor for tensor in model.graph.initializer if tensor.external_data and len(tensor.dims) == 2][-1]
    places = {entry.key: int(entry.value) for entry in tensor.external_data if entry.key != "location"}
    data = bytearray((folder / bundle.GRAPH_WEIGHTS).read_bytes())
    end = places["offset"] + places["length"]
    data[places["offset"] : end] = (-np.frombuffer(data[places["offset"] : end], np.float32)).tobytes()
    (folder / bundle.GRAPH_WEIGHTS).write_bytes(data)
