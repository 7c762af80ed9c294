"""Read small files of a version without its weights: ``training.json`` (what it was trained on, its training report),
and ``bundle.json`` (how it reads texts).
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from tlnlp.errors import BundleError, NotFoundError
from tlnlp.model import bundle
from tlnlp.registry.names import ModelVersion
from tlnlp.storage import Storage


def read_training(version: ModelVersion) -> dict[str, Any]:
    """Read a version's ``training.json`` and check it against the manifest, without fetching the weights.

    Raises:
        BundleError: the file is missing, altered, or not a JSON object.
        StorageError: the store cannot be read.
    """
    training: dict[str, Any] = json.loads(_read(version, bundle.TRAINING))
    return training


def read_max_chars(version: ModelVersion) -> int:
    """Read how many characters of a text a version reads at most. Raises as ``read_training`` does."""
    return bundle.BundleSpec.from_json(_read(version, bundle.SPEC)).max_chars


def _read(version: ModelVersion, name: str) -> bytes:
    """Return the bytes of a file of a version that holds a JSON object, checked against the manifest."""
    store = Storage(version.uri)
    try:
        manifest, data = store.read(bundle.MANIFEST), store.read(name)
        expected = json.loads(manifest)["files"][name]["sha256"]
        content = json.loads(data)
    except NotFoundError as error:
        raise BundleError(f"{version}: {name} is missing; use another version") from error
    except (ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{version}: {name} cannot be read ({type(error).__name__}); use another version") from error
    if hashlib.sha256(data).hexdigest() != expected or not isinstance(content, dict):
        raise BundleError(f"{version}: {name} was altered (sha256); use another version")
    return data
