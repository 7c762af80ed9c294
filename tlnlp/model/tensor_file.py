"""Map the tensors of a safetensors file into memory, and check that weights are finite."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from tlnlp.errors import BundleError
from tlnlp.model.bounded_json import AGAIN

MAX_HEADER_BYTES = 1 << 20
# Values checked at once: they stay in the processor's cache.
_AT_ONCE = 1 << 16
# Types of tensors, as safetensors names them; an encoder is saved as float32, its buffers as integers.
_TYPES: Mapping[str, Any] = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "I64": np.int64,
    "I32": np.int32,
    "I8": np.int8,
    "U8": np.uint8,
    "BOOL": np.bool_,
}


def map_tensors(path: Path) -> dict[str, NDArray[Any]]:
    """Return the tensors of a safetensors file by name; they are mapped into memory, not read.

    Raises:
        BundleError: the file is not in the format of safetensors, or holds a tensor of an unexpected type.
    """
    try:
        with safe_open(path, framework="numpy"):  # The library checks that the tensors fill the file exactly.
            pass
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            if size > MAX_HEADER_BYTES:
                raise ValueError("the header is too long")
            header = json.loads(file.read(size))
        header.pop("__metadata__", None)
        return {name: _mapped(path, 8 + size, entry) for name, entry in header.items()}
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise BundleError(f"{path}: no readable safetensors file ({type(error).__name__}); {AGAIN}") from error


def _mapped(path: Path, begin: int, entry: Mapping[str, Any]) -> NDArray[Any]:
    shape = tuple(entry["shape"])
    kind = np.dtype(_TYPES[entry["dtype"]])
    if 0 in shape:
        return np.zeros(shape, kind)
    return np.memmap(path, kind, "r", begin + entry["data_offsets"][0], shape)


def is_finite(values: NDArray[Any]) -> bool:
    """Return whether no value is infinite or NaN."""
    if values.dtype.kind != "f":
        return True
    flat = values.reshape(-1)
    return all(bool(np.isfinite(flat[start : start + _AT_ONCE]).all()) for start in range(0, flat.size, _AT_ONCE))


def check_tensors(
    path: Path,
    tensors: Mapping[str, NDArray[Any]],
    shapes: Mapping[str, tuple[int, ...]],
    types: Mapping[str, str] | None = None,
    described_by: str = "bundle.json",
) -> None:
    """Check that tensors are finite, and that those of ``shapes`` have these shapes and are the only ones.

    Args:
        path: the file of the tensors, for the message.
        shapes: the expected shape of each tensor by name; empty if any tensors are expected.
        types: the expected types that are not float32, by name.
        described_by: the file that the shapes follow from, for the message.

    Raises:
        BundleError: a tensor is missing, unexpected, of another shape or type, or not finite.
    """
    for name in sorted(shapes.keys() | (tensors.keys() if shapes else set())):
        if name not in tensors:
            raise BundleError(f"{path}: the tensor {name} is missing; {AGAIN}")
        found = tensors[name]
        if name not in shapes:
            raise BundleError(f"{path}: the tensor {name[:80]!r} does not belong there; {AGAIN}")
        kind = (types or {}).get(name, "float32")
        if found.shape != shapes[name] or found.dtype != kind:
            raise BundleError(
                f"{path}: {name} is {found.dtype}{list(found.shape)}; by {described_by} it must be "
                f"{kind}{list(shapes[name])}; {AGAIN}"
            )
    for name, values in tensors.items():
        if not is_finite(values):
            flat = values.reshape(-1)
            place = int(np.argmin(np.isfinite(flat)))
            raise BundleError(f"{path}: {name[:80]} holds {flat[place]} at place {place}; {AGAIN}")
