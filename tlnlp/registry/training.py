"""Read small files of a version without its weights: ``training.json`` (what it was trained on, its training report),
and ``bundle.json`` (how it reads texts).
"""

from __future__ import annotations

import hashlib
from typing import Any

from tlnlp.errors import BundleError, NotFoundError
from tlnlp.model import bundle
from tlnlp.model.bounded_json import LARGE_LIMIT_BYTES, check_size, parse_object
from tlnlp.model.bundle_spec import BundleSpec
from tlnlp.registry.names import ModelVersion
from tlnlp.registry.version_files import check_regular
from tlnlp.storage import Storage


def read_training(version: ModelVersion) -> dict[str, Any]:
    """Read a version's ``training.json`` and check it against the manifest, without fetching the weights.

    Raises:
        BundleError: the file is missing, altered, too large, no regular file or not a JSON object.
        StorageError: the store cannot be read.
    """
    return parse_object(*_read(version, bundle.TRAINING), LARGE_LIMIT_BYTES)


def read_max_chars(version: ModelVersion) -> int:
    """Read how many characters of a text a version reads at most. Raises as ``read_training`` does."""
    return BundleSpec.from_json(*_read(version, bundle.SPEC)).max_chars


def _read(version: ModelVersion, name: str) -> tuple[bytes, str]:
    """Return the bytes and the URI of a file of a version, checked against the manifest."""
    store = Storage(version.uri)
    check_regular(store, version)
    try:
        check_size(store.size_bytes(bundle.MANIFEST) or 0, store.url(bundle.MANIFEST), bundle.MANIFEST_LIMIT_BYTES)
        check_size(store.size_bytes(name) or 0, store.url(name), LARGE_LIMIT_BYTES)
        manifest, data = store.read(bundle.MANIFEST), store.read(name)
        where = store.url(bundle.MANIFEST)
        expected = parse_object(manifest, where, bundle.MANIFEST_LIMIT_BYTES)["files"][name]["sha256"]
    except NotFoundError as error:
        raise BundleError(f"{version}: {name} is missing; use another version") from error
    except (KeyError, TypeError) as error:
        raise BundleError(f"{version}: {name} cannot be read ({type(error).__name__}); use another version") from error
    if hashlib.sha256(data).hexdigest() != expected:
        raise BundleError(f"{version}: {name} was altered (sha256); use another version")
    return data, store.url(name)
