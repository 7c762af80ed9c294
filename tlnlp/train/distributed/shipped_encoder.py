"""Send an encoder from the driver's machine to Ray's workers, once per cluster, through the object store.

The name of an encoder in a package, a store or a hub means the same on every machine, so only the name is sent. A local
folder exists on the driver's machine alone, so its files are sent. A worker that can read the same folder uses it;
other workers write the files to a temporary folder, which is named by the digest of the files.
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

# The files needed to load an encoder: its configuration, its weights and its pooling.
_PATTERNS = ("*.json", "*.safetensors", "1_Pooling/config.json")


@dataclass(frozen=True)
class ShippedEncoder:
    """An encoder in Ray's object store.

    Attributes:
        folder: its folder on the driver's machine.
        digest: the SHA-256 of its files.
        stamps: relative path, size in bytes and modification time in ns of each file.
        files: object references to the content of each file, in the order of ``stamps``.
    """

    folder: str
    digest: str
    stamps: tuple[tuple[str, int, int], ...]
    files: tuple[Any, ...]


def ship(encoder: str) -> ShippedEncoder | str:
    """Put the files of an encoder into the object store if they are in a local folder; else return the name.

    The files are put once per cluster, whatever the number of fits that use them.
    """
    folder = own_folder(encoder)
    stamps = _stamps(folder) if folder is not None else ()
    if folder is None or not any(name.endswith(".safetensors") for name, _, _ in stamps):
        return encoder
    return _put(str(folder.absolute()), stamps, _cluster_id())


def lay(encoder: ShippedEncoder | str) -> str:
    """Return the folder of an encoder on this worker's machine, or the name that ``ship`` returned.

    Files are fetched if the machine does not have them. A rename makes the complete folder visible at once, so workers
    of one machine may do this at the same time.
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


def with_local_encoder(source: EncoderSource, encoder: ShippedEncoder | str) -> EncoderSource:
    """Return the encoder source with the folder or name that this worker can load."""
    return replace(source, name=lay(encoder))


def _stamps(folder: Path) -> tuple[tuple[str, int, int], ...]:
    paths = sorted({path for pattern in _PATTERNS for path in folder.glob(pattern) if path.is_file()})
    return tuple((str(path.relative_to(folder)), (s := path.stat()).st_size, s.st_mtime_ns) for path in paths)


def _cluster_id() -> tuple[str, str]:
    """Return what identifies the cluster and the job: object references are valid in one job alone."""
    context = ray.get_runtime_context()
    return context.get_session_name(), context.get_job_id()


@functools.lru_cache(maxsize=2)
def _put(folder: str, stamps: tuple[tuple[str, int, int], ...], cluster_id: Any) -> ShippedEncoder:
    """Put the files into the object store. ``cluster_id`` is only part of the cache key."""
    digest, files = hashlib.sha256(), []
    for name, _, _ in stamps:
        # Ray passes an array to workers of the same machine without a copy.
        content = np.fromfile(Path(folder) / name, dtype=np.uint8)
        digest.update(name.encode() + b"\0" + len(content).to_bytes(8) + hashlib.sha256(content.data).digest())
        files.append(ray.put(content))
    return ShippedEncoder(folder, digest.hexdigest(), stamps, tuple(files))
