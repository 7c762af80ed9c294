"""One door to every store: read, write, list, put-if-absent, compare-and-swap.

A ``Storage`` is rooted at a URI (``/path``, ``relative/path``, ``file://``, ``s3://``; ``gs://`` and ``az://`` by
the same library) and is addressed with keys: relative paths with forward slashes. Built on obstore, the Python
binding of the Rust ``object_store``; S3 credentials come from boto3, so profiles, SSO and roles work as usual.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError
from obstore.store import LocalStore, S3Store, from_url

from tlnlp.errors import NotFoundError, StorageError, UsageError

if TYPE_CHECKING:
    from obstore.store import ObjectStore

_SCHEMES = ("file", "s3", "gs", "az")


def resolve_uri(uri: str) -> str:
    """The URI in the one form used everywhere: a scheme, an absolute path, no trailing slash.

    Relative paths are resolved against the current folder.

    Raises:
        UsageError: the scheme is not one of file, s3, gs, az, or the bucket is missing.
    """
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return "file://" + str(Path(uri).expanduser().absolute())
    if scheme == "s3a":
        scheme = "s3"
    if scheme not in _SCHEMES:
        raise UsageError(f"{uri!r}: unknown scheme {scheme!r}; use a path, file://, s3://, gs:// or az://")
    if scheme == "file" and not rest.startswith("/"):
        raise UsageError(f"{uri!r}: file:// takes an absolute path, as in file:///data/labels.parquet")
    if not rest.strip("/"):
        raise UsageError(f"{uri!r}: names no bucket or folder")
    return f"{scheme}://{rest.rstrip('/')}"


def local_path(uri: str) -> Path | None:
    """The path on this machine of a ``file://`` URI or a plain path; None for an object store."""
    resolved = resolve_uri(uri)
    return Path(resolved.removeprefix("file://")) if resolved.startswith("file://") else None


def join_uri(uri: str, key: str) -> str:
    return f"{uri.rstrip('/')}/{key.lstrip('/')}"


@dataclass(frozen=True)
class Entry:
    """One stored object: ``key`` relative to the storage's root, ``size_bytes``, time of last change."""

    key: str
    size_bytes: int
    modified: datetime


@dataclass(frozen=True)
class Tagged:
    """What is stored under a key, with the e-tag that a compare-and-swap must present."""

    data: bytes
    tag: str


@contextmanager
def _translated(what: str, uri: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise NotFoundError(f"{uri}: nothing is stored there") from error
    except (BaseError, OSError) as error:
        kind = type(error).__name__
        raise StorageError(f"{uri}: cannot {what} ({kind}); check the address, the permissions and the network") from error


class Storage:
    """A folder of a store. Cheap to make; nothing is read, and no folder made, until a method is called."""

    def __init__(self, uri: str) -> None:
        self.uri = resolve_uri(uri)
        self._path = local_path(self.uri)
        self._opened: ObjectStore | None = None

    def __repr__(self) -> str:
        return f"Storage({self.uri!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return (Storage, (self.uri,))

    def url(self, key: str) -> str:
        return join_uri(self.uri, key)

    def at(self, prefix: str) -> Storage:
        """The storage rooted one or more folders down."""
        return Storage(self.url(prefix))

    @property
    def _store(self) -> ObjectStore:
        if self._opened is None:
            with _translated("open the store", self.uri):
                self._opened = _open(self.uri, self._path)
        return self._opened

    def read(self, key: str) -> bytes:
        """Raises NotFoundError, StorageError."""
        with _translated("read", self.url(key)):
            return bytes(obstore.get(self._store, key).bytes())

    def read_tagged(self, key: str) -> Tagged:
        """Raises NotFoundError, StorageError."""
        with _translated("read", self.url(key)):
            result = obstore.get(self._store, key)
            return Tagged(bytes(result.bytes()), str(result.meta["e_tag"]))

    def exists(self, key: str) -> bool:
        try:
            with _translated("look up", self.url(key)):
                obstore.head(self._store, key)
        except NotFoundError:
            return False
        return True

    def write(self, key: str, data: bytes | Path) -> None:
        """Store ``data`` (bytes, or a file of this machine) under ``key``, replacing what is there, atomically."""
        with _translated("write", self.url(key)):
            obstore.put(self._store, key, data)

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """True if this call stored ``data``; False if something was there before (it is left as it is)."""
        with _translated("write", self.url(key)):
            try:
                obstore.put(self._store, key, data, mode="create", use_multipart=False)
            except AlreadyExistsError:
                return False
            return True

    def compare_and_swap(self, key: str, data: bytes, tag: str) -> bool:
        """Replace what is under ``key`` if its e-tag is still ``tag``; False if another writer was first."""
        with _translated("write", self.url(key)):
            if self._path is not None:
                return self._swap_locally(key, data, tag)
            try:
                obstore.put(self._store, key, data, mode={"e_tag": tag}, use_multipart=False)
            except (PreconditionError, FileNotFoundError):
                return False
            return True

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """Every object below the folder ``prefix``, in no order."""
        with _translated("list", self.url(prefix)):
            for batch in obstore.list(self._store, prefix.strip("/") or None):
                for meta in batch:
                    yield Entry(meta["path"], meta["size"], meta["last_modified"])

    def folders(self, prefix: str = "") -> list[str]:
        """Names of the folders directly below ``prefix``, sorted."""
        with _translated("list", self.url(prefix)):
            found = obstore.list_with_delimiter(self._store, prefix.strip("/") or None)["common_prefixes"]
        return sorted(path.rstrip("/").rsplit("/", 1)[-1] for path in found)

    def delete(self, keys: list[str]) -> None:
        """Remove the objects; one that is gone already is no error."""
        for key in keys:
            with _translated("delete", self.url(key)):
                try:
                    obstore.delete(self._store, key)
                except FileNotFoundError:
                    continue

    def delete_folder(self, prefix: str) -> int:
        """Remove every object below ``prefix``; returns how many there were."""
        keys = [entry.key for entry in self.list(prefix)]
        self.delete(keys)
        if self._path is not None:
            _remove_empty_folders(self._path / prefix)
        return len(keys)

    def download(self, keys: list[str], folder: Path) -> None:
        """Copy objects into ``folder``, each under its own key."""
        for key in keys:
            target = folder / key
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(self.read(key))

    def _swap_locally(self, key: str, data: bytes, tag: str) -> bool:
        # A local folder has no conditional replace: readers of the tag queue on a lock of the root folder itself.
        assert self._path is not None
        descriptor = os.open(self._path, os.O_RDONLY)
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
    if uri.startswith("s3://"):
        return _open_s3(uri)
    return from_url(uri)


def _open_s3(uri: str) -> ObjectStore:
    # Imported here: a local run needs no AWS library, and boto3 takes long to load.
    import boto3
    from obstore.auth.boto3 import Boto3CredentialProvider

    session = boto3.Session()
    endpoint = session.client("s3", region_name=session.region_name or "us-east-1").meta.endpoint_url
    options: dict[str, Any] = {"region": session.region_name or "us-east-1"}
    if "amazonaws.com" not in endpoint:
        options |= {"endpoint": endpoint, "virtual_hosted_style_request": False}
    if endpoint.startswith("http://"):
        options["client_options"] = {"allow_http": True}
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    return S3Store(bucket, prefix=prefix or None, credential_provider=Boto3CredentialProvider(session), **options)


def _remove_empty_folders(root: Path) -> None:
    if not root.is_dir():
        return
    for folder, _, _ in sorted(os.walk(root), key=lambda walked: len(walked[0]), reverse=True):
        try:
            os.rmdir(folder)
        except OSError:
            continue
