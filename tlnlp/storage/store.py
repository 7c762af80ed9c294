"""Access any store through one class: read, write, list, put-if-absent, compare-and-swap.

A ``Storage`` has a root URI (``/path``, ``relative/path``, ``file://``, ``s3://``, ``gs://``, ``az://``) and addresses
objects by keys, which are relative paths with forward slashes. It is built on obstore, the Python binding of the Rust
``object_store``. S3 credentials come from boto3, so profiles, SSO and roles work as usual.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import obstore
from obstore import exceptions as refusals
from obstore.store import LocalStore, from_url

from tlnlp.errors import NotFoundError, StorageError, UsageError
from tlnlp.storage.causes import cause_of, described
from tlnlp.storage.reader import StoredFile
from tlnlp.storage.s3 import is_s3, s3_of_environment
from tlnlp.storage.uri import join_uri, local_path, resolve_uri

if TYPE_CHECKING:
    from obstore.store import ObjectStore

__all__ = ["Entry", "Storage", "Tagged", "join_uri", "local_path", "resolve_uri"]

_CHUNK_BYTES = 8 << 20
_READ_BYTES = 1 << 20

# Inside the class Storage, `list` is a method, so annotations there use this name.
_Names = list[str]


@dataclass(frozen=True)
class Entry:
    """A stored object: its ``key`` relative to the storage's root, its size, and the time of its last change."""

    key: str
    size_bytes: int
    modified: datetime


@dataclass(frozen=True)
class Tagged:
    """An object's ``data``, with the ``tag`` that ``compare_and_swap`` takes."""

    data: bytes
    tag: str


@contextmanager
def _translated(what: str, uri: str) -> Iterator[None]:
    """Turn the library's errors into ours. Its messages are left out, because a server's answer may quote a header."""
    try:
        yield
    except FileNotFoundError as error:
        if (cause := cause_of(error)) is not None:  # A bucket that does not exist is no missing object.
            raise StorageError(f"{uri}: cannot {what} {cause}") from error
        raise NotFoundError(f"{uri}: nothing is stored there") from error
    except ValueError as error:
        raise UsageError(f"{uri}: not a usable name, so nothing was done; avoid empty parts, '.' and '..'") from error
    except (refusals.BaseError, OSError) as error:
        raise StorageError(f"{uri}: cannot {what} {described(error)}") from error


class Storage:
    """A folder of a store. The constructor opens nothing; only a method that writes creates a local folder.

    Methods raise StorageError if the store fails, and UsageError for a key that leaves the folder (``..``).
    """

    def __init__(self, uri: str) -> None:
        self.uri = resolve_uri(uri)
        self._path = local_path(self.uri)
        self._opened: ObjectStore | None = None

    def __repr__(self) -> str:
        return f"Storage({self.uri!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return (Storage, (self.uri,))

    def url(self, key: str) -> str:
        """Return the URI of ``key``."""
        return join_uri(self.uri, key)

    def at(self, prefix: str) -> Storage:
        """Return the storage of the folder ``prefix`` below this one."""
        return Storage(self.url(prefix))

    def _store(self, *, make: bool = False) -> ObjectStore:
        if self._path is not None and not make and not self._path.is_dir():
            # Opening a local store creates its folder, which a call that only reads must not do.
            raise FileNotFoundError(self._path)
        if self._opened is None:
            self._opened = _open(self.uri, self._path)
        return self._opened

    def _is_missing(self) -> bool:
        """Return True if this is a local folder that does not exist. An object store has no folders: False."""
        return self._path is not None and not self._path.exists()

    def read(self, key: str) -> bytes:
        """Return an object's data. Raises NotFoundError, StorageError."""
        with _translated("read", self.url(key)):
            return bytes(obstore.get(self._store(), key).bytes())

    def open(self, key: str) -> BinaryIO:
        """Open an object for reading in pieces. Raises NotFoundError, StorageError, here and when it is read."""
        translated = partial(_translated, "read", self.url(key))
        with translated():
            reader = obstore.open_reader(self._store(), key, buffer_size=_READ_BYTES)
        return io.BufferedReader(StoredFile(reader, translated), _READ_BYTES)

    def read_tagged(self, key: str) -> Tagged:
        """Return an object's data with its tag. Raises NotFoundError, StorageError."""
        with _translated("read", self.url(key)):
            result = obstore.get(self._store(), key)
            data = bytes(result.bytes())
        # A local e-tag consists of inode, time and size, and inodes are reused: on a coarse clock a later state can
        # have the tag of an earlier one. A digest of the data excludes that.
        tag = str(result.meta["e_tag"]) if self._path is None else hashlib.sha256(data).hexdigest()
        return Tagged(data, tag)

    def exists(self, key: str) -> bool:
        """Return True if an object is stored under ``key``. Raises StorageError."""
        return self.size_bytes(key) is not None

    def size_bytes(self, key: str) -> int | None:
        """Return the size of the object under ``key``, None if there is none. Raises StorageError."""
        found = self.entry(key)
        return None if found is None else found.size_bytes

    def entry(self, key: str) -> Entry | None:
        """Return the object under ``key``, dated by the store's clock; None if there is none. Raises StorageError."""
        try:
            with _translated("look up", self.url(key)):
                meta = obstore.head(self._store(), key)
                return Entry(meta["path"], meta["size"], meta["last_modified"])
        except NotFoundError:
            return None

    def write(self, key: str, data: bytes | Path) -> None:
        """Store ``data`` (bytes, or the path of a local file) under ``key``; replaces an existing object atomically.

        Raises:
            NotFoundError: ``data`` is a path, and no file is there.
            StorageError: the store failed.
        """
        if isinstance(data, Path) and not data.is_file():
            raise NotFoundError(f"{data}: no such file on this machine; nothing was written to {self.url(key)}")
        with _translated("write", self.url(key)):
            obstore.put(self._store(make=True), key, data)

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Store ``data`` if nothing is stored under ``key``; return True if this call stored it."""
        with _translated("write", self.url(key)):
            try:
                obstore.put(self._store(make=True), key, data, mode="create", use_multipart=False)
            except refusals.AlreadyExistsError:
                return False
            return True

    def compare_and_swap(self, key: str, data: bytes, tag: str) -> bool:
        """Replace the object under ``key`` if its tag is still ``tag``; return True if this call replaced it.

        False means that another writer was first, or that the object is gone. This excludes only writers that use this
        method too: ``write`` does not compare tags.
        """
        with _translated("write", self.url(key)):
            if self._path is not None:
                return self._swap_locally(key, data, tag)
            try:
                obstore.put(self._store(), key, data, mode={"e_tag": tag}, use_multipart=False)
            except (refusals.PreconditionError, FileNotFoundError):
                return False
            return True

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """Yield every object below the folder ``prefix``, in no order; nothing if the folder does not exist."""
        if self._is_missing():
            return
        with _translated("list", self.url(prefix)):
            for batch in obstore.list(self._store(), prefix.strip("/") or None):
                for meta in batch:
                    yield Entry(meta["path"], meta["size"], meta["last_modified"])

    def folders(self, prefix: str = "") -> _Names:
        """Return the names of the folders directly below ``prefix``, sorted."""
        if self._is_missing():
            return []
        with _translated("list", self.url(prefix)):
            found = obstore.list_with_delimiter(self._store(), prefix.strip("/") or None)["common_prefixes"]
        return sorted(path.rstrip("/").rsplit("/", 1)[-1] for path in found)

    def delete(self, keys: Iterable[str]) -> None:
        """Remove the objects; a key without an object is no error."""
        for key in keys:
            with _translated("delete", self.url(key)):
                # For an invalid key the library raises TypeError here, but ValueError in its other functions.
                if any(part in ("", ".", "..") for part in key.strip("/").split("/")):
                    raise ValueError(key)
                try:
                    obstore.delete(self._store(), key)
                except FileNotFoundError:
                    continue

    def delete_folder(self, prefix: str) -> int:
        """Remove every object below ``prefix`` and return their number."""
        keys = [entry.key for entry in self.list(prefix)]
        self.delete(keys)
        if self._path is not None:
            _remove_remains(self._path / prefix.strip("/"))
        return len(keys)

    def download(self, keys: Iterable[str], folder: Path) -> None:
        """Copy objects into the local ``folder`` under their keys; each file appears only when it is complete.

        Raises:
            NotFoundError: an object does not exist.
            StorageError: an object cannot be read, or ``folder`` cannot be written.
        """
        for key in keys:
            with _translated("read", self.url(key)):
                result = obstore.get(self._store(), key)
            target = folder / key.strip("/")
            partial = target.with_name(f"{target.name}.{os.getpid()}.part")
            try:
                with _translated("copy to this machine", str(target)):
                    target.parent.mkdir(parents=True, exist_ok=True)
                    with partial.open("wb") as file:
                        for chunk in result.stream(min_chunk_size=_CHUNK_BYTES):
                            file.write(chunk)
                    partial.replace(target)
            finally:
                with suppress(OSError):
                    partial.unlink()

    def _swap_locally(self, key: str, data: bytes, tag: str) -> bool:
        # A local folder has no conditional replace, so writers lock the object's own folder. That folder is the same
        # for every Storage that reaches the object, whatever its root.
        assert self._path is not None
        folder = (self._path / key.strip("/")).parent
        if not folder.is_dir():
            return False
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            try:
                if self.read_tagged(key).tag != tag:
                    return False
            except NotFoundError:
                return False
            self.write(key, data)
            return True
        finally:
            os.close(descriptor)


def _open(uri: str, path: Path | None) -> ObjectStore:
    if path is not None:
        return LocalStore(prefix=str(path), mkdir=True)
    if is_s3(uri):
        bucket, _, prefix = uri.removeprefix("s3://").partition("/")
        return s3_of_environment(uri).object_store(bucket, prefix)
    return from_url(uri)


def _remove_remains(root: Path) -> None:
    """Remove what a listing hides: empty folders, and the files ``name#1`` of a writer that was killed."""
    for folder, _, names in os.walk(root, topdown=False):
        try:
            for name in names:
                if re.search(r"#\d+$", name):
                    os.unlink(os.path.join(folder, name))
            os.rmdir(folder)
        except OSError:
            continue
