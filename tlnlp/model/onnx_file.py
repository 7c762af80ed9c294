"""Check an exported ONNX graph before ONNX Runtime opens it: its operators, its inputs and outputs, its weights.

Machines that score have no ``onnx`` package, so the file is read here, as Protocol Buffers write it.

Source: the schema onnx.proto (github.com/onnx/onnx) and protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tlnlp.errors import BundleError
from tlnlp.model.bounded_json import AGAIN, check_size, shown
from tlnlp.model.tensor_file import is_finite

# Largest graph in bytes; its weights lie in a file of their own.
LIMIT_BYTES = 64 << 20
STANDARD_DOMAINS = ("", "ai.onnx")
FLOAT, INT64 = 1, 7
# Types of the stored tensors by their number in the schema.
_TYPES: Mapping[int, Any] = {
    FLOAT: np.float32,
    2: np.uint8,
    3: np.int8,
    6: np.int32,
    INT64: np.int64,
    9: np.bool_,
    10: np.float16,
    11: np.float64,
}
_FLOAT_DATA, _RAW_DATA, _DOUBLE_DATA = 4, 9, 10

Message = dict[int, list[Any]]


@dataclass
class _Graph:
    """Hold what is checked of a graph. ``gathered`` holds the tensor that each node looks up ``input_ids`` in."""

    tensors: dict[str, Message] = field(default_factory=dict)
    inline: list[Message] = field(default_factory=list)
    gathered: list[str] = field(default_factory=list)
    inputs: list[Message] = field(default_factory=list)
    outputs: list[Message] = field(default_factory=list)


def check_graph(graph: Path, weights: Path, classes: int, input_names: Sequence[str]) -> int | None:
    """Check a graph and the file of its weights; return the number of token ids that its embedding has.

    Args:
        weights: the one file that may hold weights outside of the graph.
        classes: number of classes, the width of the output.

    Returns:
        The rows of the embedding, None if no lookup of ``input_ids`` itself was found.

    Raises:
        BundleError: the file is no graph; an operator is not of the standard domains, or holds a graph of its own; the
            inputs or the output are others; weights lie elsewhere, are of another size or not finite.
    """
    try:
        size = graph.stat().st_size
        check_size(size, str(graph), LIMIT_BYTES)
        found = _read(memoryview(graph.read_bytes()))
        _check_ends(found, classes, input_names)
        data = np.memmap(weights, np.uint8, "r") if weights.stat().st_size else np.zeros(0, np.uint8)
        for name, tensor in found.tensors.items():
            _check_tensor(name, tensor, data, weights.name)
        for tensor in found.inline:
            _check_tensor("a constant", tensor, data, weights.name)
        rows = [_dims(found.tensors[name])[0] for name in found.gathered if name in found.tensors]
        return min(rows, default=None)
    except (ValueError, KeyError, IndexError, OSError, UnicodeDecodeError) as error:
        reason = str(error) if type(error) is ValueError else type(error).__name__
        raise BundleError(f"{graph}: not a graph that tlnlp exports: {reason[:300]}; {AGAIN}") from error


def _read(data: memoryview) -> _Graph:
    model = _message(data)
    for number, what in {20: "training information", 25: "functions of its own"}.items():
        if number in model:
            raise ValueError(f"it holds {what}")
    for opset in map(_message, model.get(8, [])):
        _check_domain(opset.get(1, []))
    found = _Graph()
    graph = _message(_only(model, 7))
    if 15 in graph:
        raise ValueError("it holds sparse weights")
    for tensor in map(_message, graph.get(5, [])):
        name = _text(_only(tensor, 8))
        if name in found.tensors:
            raise ValueError(f"two tensors have the name {shown(name)}")
        found.tensors[name] = tensor
    for node in map(_message, graph.get(1, [])):
        _read_node(node, found)
    found.inputs, found.outputs = (list(map(_message, graph.get(number, []))) for number in (11, 12))
    return found


def _read_node(node: Message, found: _Graph) -> None:
    kind, inputs = _text(_only(node, 4)), [_text(name) for name in node.get(1, [])]
    _check_domain(node.get(7, []))
    if kind == "Gather" and inputs[1:] == ["input_ids"]:
        found.gathered.append(inputs[0])
    for attribute in map(_message, node.get(5, [])):
        # Graphs inside a node are branches and loops, which no exported encoder has; a loop need not end.
        if attribute.keys() & {6, 11, 22, 23}:
            raise ValueError(f"its operator {shown(kind)} holds a graph or sparse weights of its own")
        found.inline += map(_message, [*attribute.get(5, []), *attribute.get(10, [])])


def _check_domain(values: Sequence[Any]) -> None:
    for value in values:
        if (domain := _text(value)) not in STANDARD_DOMAINS:
            raise ValueError(f"it uses the operator domain {shown(domain)}, not only the standard one")


def _check_ends(found: _Graph, classes: int, input_names: Sequence[str]) -> None:
    """Check that the inputs are tables of token ids, and that the one output is float32, (batch, classes)."""
    names = [_text(_only(value, 1)) for value in found.inputs]
    if sorted(names) != sorted(input_names):
        raise ValueError(f"its inputs are {shown(names)}, not {shown(list(input_names))}")
    for value, name in zip(found.inputs, names, strict=True):
        if (found_type := _type(value))[0] != INT64 or len(found_type[1]) != 2:
            raise ValueError(f"its input {name} is no table of whole numbers")
    if len(found.outputs) != 1:
        raise ValueError(f"it has {len(found.outputs)} outputs, not one")
    kind, shape = _type(found.outputs[0])
    if kind != FLOAT or len(shape) != 2 or shape[1] != classes:
        raise ValueError(f"its output has the shape {shown(shape)}, not one of {classes} classes in float32")


def _type(value: Message) -> tuple[int, list[int | str | None]]:
    """Return the type of an input or output and its shape; a dimension of free size is a name or None."""
    tensor = _message(_only(_message(_only(value, 2)), 1))
    dims = map(_message, _message(_only(tensor, 2)).get(1, []))
    return _only(tensor, 1), [_only(dim, 1) if 1 in dim else _text(_only(dim, 2)) if 2 in dim else None for dim in dims]


def _dims(tensor: Message) -> tuple[int, ...]:
    dims = tuple(number for part in tensor.get(1, []) for number in _numbers(part))
    if len(dims) > 8 or any(dim >= 1 << 40 for dim in dims):
        raise ValueError(f"a tensor has the shape {shown(dims)}")
    return dims


def _check_tensor(name: str, tensor: Message, data: Any, weights: str) -> None:
    """Check that a tensor's data is as long as its shape says, lies in the graph or the weights, and is finite."""
    kind, dims = _only(tensor, 2), _dims(tensor)
    if kind not in _TYPES:
        raise ValueError(f"the tensor {shown(name)} has the type {kind}, which no exported encoder has")
    dtype = np.dtype(_TYPES[kind])
    size = math.prod(dims) * dtype.itemsize
    if 13 in tensor or tensor.get(14, [0]) != [0]:
        values = _external(name, tensor, size, data, weights).view(dtype)
        if not is_finite(values):
            raise ValueError(f"its weights {shown(name)} in {weights} are not all finite")
        return
    stored = {_RAW_DATA: dtype, _FLOAT_DATA: np.dtype(np.float32), _DOUBLE_DATA: np.dtype(np.float64)}
    for number, of in stored.items():
        raw = b"".join(map(bytes, tensor.get(number, [])))
        if number == _RAW_DATA and raw and len(raw) != size:
            raise ValueError(f"the tensor {shown(name)} holds {len(raw)} bytes, its shape asks for {size}")
        # Masks hold minus infinity, as a single number.
        values = np.frombuffer(raw, of)
        if values.dtype.kind == "f" and (np.isnan(values).any() or (values.size > 1 and not is_finite(values))):
            raise ValueError(f"its weights {shown(name)} are not all finite")


def _external(name: str, tensor: Message, size: int, data: Any, weights: str) -> Any:
    pairs = [(_text(_only(pair, 1)), _text(_only(pair, 2))) for pair in map(_message, tensor.get(13, []))]
    places = dict(pairs)
    if len(places) < len(pairs) or places.get("location") != weights:
        raise ValueError(f"the weights {shown(name)} lie in {shown(places.get('location'))}, not in {weights}")
    start, length = _count(places.get("offset", "0")), _count(places.get("length", str(size)))
    if length != size or start + length > data.size:
        raise ValueError(
            f"the weights {shown(name)} are bytes {start} to {start + length} of {weights}, which has {data.size}; "
            f"their shape asks for {size}"
        )
    return data[start : start + length]


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{shown(text)} stands where a number of bytes should")
    return int(text)


# --- Protocol Buffers


def _message(data: Any) -> Message:
    """Return the values of each field: a number, or the bytes of a text, a list or an inner message."""
    if not isinstance(data, memoryview):
        raise ValueError("a number stands where a message should")
    fields: Message = {}
    for number, value in _fields(data):
        fields.setdefault(number, []).append(value)
    return fields


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    place = 0
    while place < len(data):
        key, place = _varint(data, place)
        if key & 7 == 0:
            value, place = _varint(data, place)
            yield key >> 3, value
            continue
        if key & 7 == 2:
            width, place = _varint(data, place)
        elif key & 7 in (1, 5):
            width = 8 if key & 7 == 1 else 4
        else:
            raise ValueError("it is no message of Protocol Buffers")
        if width > len(data) - place:
            raise ValueError("it is cut off")
        yield key >> 3, data[place : place + width]
        place += width


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    value, shift = 0, 0
    while shift < 64:
        byte = data[place]
        value |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return value, place
    raise ValueError("a number is too long")


def _numbers(part: int | memoryview) -> Iterator[int]:
    """Yield whole numbers: of a field that holds one, or of one that packs several."""
    if isinstance(part, int):
        yield part
        return
    place = 0
    while place < len(part):
        value, place = _varint(part, place)
        yield value


def _only(fields: Message, number: int) -> Any:
    """Return the value of a field. One that stands twice could be read in two ways, so it is refused."""
    values = fields.get(number, [])
    if len(values) != 1:
        raise ValueError(f"the field {number} stands {len(values)} times")
    return values[0]


def _text(value: Any) -> str:
    return bytes(value).decode() if isinstance(value, memoryview) else ""
