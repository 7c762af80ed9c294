"""Tell the memory errors of the libraries that run an encoder from their other errors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

# ONNX Runtime: "Failed to allocate memory"; CTranslate2: "std::bad_alloc", and on a GPU "CUDA failed with error out of
# memory" or "CUBLAS_STATUS_ALLOC_FAILED".
_SIGNS = re.compile(r"alloc|out of memory", re.IGNORECASE)


@contextmanager
def memory_errors(place: str) -> Iterator[None]:
    """Turn an exception that reports too little memory into a MemoryError; any other exception passes as it is.

    Args:
        place: who has too little memory: a library or a device.

    Raises:
        MemoryError: there is too little memory for a text.
    """
    try:
        yield
    except Exception as error:  # The exceptions of the libraries have no common public base class.
        if _SIGNS.search(str(error)):
            raise MemoryError(f"{place} has too little memory for a text") from error
        raise
