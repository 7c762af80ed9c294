"""Normalise paths and URIs to the one form that the whole project uses. Nothing is opened."""

from __future__ import annotations

import os
import re
from pathlib import Path

from tlnlp.errors import UsageError, masked

_SCHEMES = ("file", "s3", "gs", "az")


def resolve_uri(uri: str) -> str:
    """Return the URI with a scheme, an absolute path and no trailing slash.

    Relative paths are resolved against the current folder, and ``.`` and ``..`` in local paths are removed. Characters
    are not decoded: ``%20`` is three characters, not a space.

    Raises:
        UsageError: the scheme is not one of file, s3, gs, az; the folder or bucket is missing; or the address holds a
            secret.
    """
    scheme, separator, rest = uri.partition("://")
    if not separator:
        if not uri.strip():
            raise UsageError("an empty address was given; use a path, file://, s3://, gs:// or az://")
        if re.match(r"(file|s3a?|gs|az):", uri, re.IGNORECASE):
            raise UsageError(f"{uri!r}: an address has two slashes after the colon; write it as in s3://bucket/folder")
        return "file://" + os.path.abspath(os.path.expanduser(uri))
    scheme = scheme.lower()
    if scheme == "s3a":
        scheme = "s3"
    if scheme not in _SCHEMES:
        raise UsageError(f"{uri!r}: unknown scheme {scheme!r}; use a path, file://, s3://, gs:// or az://")
    if scheme == "file" and not rest.startswith("/"):
        raise UsageError(f"{uri!r}: file:// takes an absolute path; write it as in file:///data/labels.parquet")
    if not rest.strip("/") or (scheme != "file" and rest.startswith("/")):
        raise UsageError(f"{uri!r}: the address names no bucket or folder; write it as in s3://bucket/folder")
    if scheme == "file":
        return "file://" + os.path.abspath("/" + rest.lstrip("/"))
    query = rest.partition("?")[2]
    if "@" in rest.partition("/")[0] or masked(query) != query:
        # It would be stored beside results, and no library would use it.
        raise UsageError(
            f"{uri}: the address holds a password or token; take it out, and give it in the environment (AWS_PROFILE "
            "or AWS_* for s3://)"
        )
    return f"{scheme}://{rest.rstrip('/')}"


def local_path(uri: str) -> Path | None:
    """Return the local path of a ``file://`` URI or a plain path; None for an object store."""
    resolved = resolve_uri(uri)
    return Path(resolved.removeprefix("file://")) if resolved.startswith("file://") else None


def join_uri(uri: str, key: str) -> str:
    """Return the URI of ``key`` (a relative path with forward slashes) below the folder ``uri``."""
    return f"{uri.rstrip('/')}/{key.lstrip('/')}"
