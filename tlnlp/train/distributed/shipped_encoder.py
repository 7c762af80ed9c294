"""An encoder that only the driver's machine has, sent to Ray's workers once through the object store.

Names of packages, stores and hubs mean the same on every machine and stay names. A folder does not: each worker lays
its files into a temporary folder that is named by their digest, unless it sees the very folder itself.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import ray

from tlnlp.model.encoder_catalogue import own_folder
from tlnlp.model.encoder_conventions import EncoderSource

# What opens an encoder: its shape, its weights, and how it wants to be used.
_PATTERNS = ("*.json", "*.safetensors", "1_Pooling/config.json")


@dataclass(frozen=True)
class ShippedEncoder:
    """``folder``: where it is on the driver's machine; ``stamps``: size and time of each file there, by relative path;
    ``files``: references to their bytes, in the same order."""

    folder: str
    digest: str
    stamps: tuple[tuple[str, int, int], ...]
    files: tuple[Any, ...]


def ship(encoder: str) -> ShippedEncoder | str:
    """Put an encoder's files into the object store, if only this machine has them; else return the name as it is.

    Once for each cluster joined, however many fits ask for it.
    """
    folder = own_folder(encoder)
    stamps = _stamps(folder) if folder is not None else ()
    if folder is None or not any(name.endswith(".safetensors") for name, _, _ in stamps):
        return encoder
    return _put(str(folder.absolute()), stamps, _session())


def lay(encoder: ShippedEncoder | str) -> str:
    """The folder on this machine of what ``ship`` returned, or its name; called by workers.

    Files are fetched only where they are not there yet; laid in one rename, so that workers side by side are safe.
    """
    if isinstance(encoder, str):
        return encoder
    if _stamps(Path(encoder.folder)) == encoder.stamps:
        return encoder.folder
    target = Path(tempfile.gettempdir()) / "tlnlp-encoders" / encoder.digest[:16]
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            made = Path(scratch) / "encoder"
            for (name, _, _), reference in zip(encoder.stamps, encoder.files, strict=True):
                (made / name).parent.mkdir(parents=True, exist_ok=True)
                ray.get(reference).tofile(made / name)
            with contextlib.suppress(OSError):  # Another worker was first.
                made.rename(target)
    return str(target)


def laid(source: EncoderSource, encoder: ShippedEncoder | str) -> EncoderSource:
    """The encoder of a fit or a reading, as this worker finds it."""
    return replace(source, name=lay(encoder))


def _stamps(folder: Path) -> tuple[tuple[str, int, int], ...]:
    paths = sorted({path for pattern in _PATTERNS for path in folder.glob(pattern) if path.is_file()})
    return tuple((str(path.relative_to(folder)), (s := path.stat()).st_size, s.st_mtime_ns) for path in paths)


def _session() -> tuple[str, str]:
    """What tells one cluster joined from another: references of the one mean nothing to the other."""
    context = ray.get_runtime_context()
    return context.get_session_name(), context.get_job_id()


@functools.lru_cache(maxsize=2)
def _put(folder: str, stamps: tuple[tuple[str, int, int], ...], session: Any) -> ShippedEncoder:
    digest, files = hashlib.sha256(), []
    for name, _, _ in stamps:
        # An array is handed to workers of this machine without a copy.
        content = np.fromfile(Path(folder) / name, dtype=np.uint8)
        digest.update(name.encode() + b"\0" + len(content).to_bytes(8) + hashlib.sha256(content.data).digest())
        files.append(ray.put(content))
    return ShippedEncoder(folder, digest.hexdigest(), stamps, tuple(files))
