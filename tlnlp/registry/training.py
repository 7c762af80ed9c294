"""Read the ``training.json`` of a version: what it was trained on, and its training report."""

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
    store = Storage(version.uri)
    try:
        manifest, data = store.read(bundle.MANIFEST), store.read(bundle.TRAINING)
        expected = json.loads(manifest)["files"][bundle.TRAINING]["sha256"]
        training = json.loads(data)
    except NotFoundError as error:
        raise BundleError(f"{version}: {bundle.TRAINING} is missing; use another version") from error
    except (ValueError, KeyError, TypeError) as error:
        raise BundleError(
            f"{version}: {bundle.TRAINING} cannot be read ({type(error).__name__}); use another version"
        ) from error
    if hashlib.sha256(data).hexdigest() != expected or not isinstance(training, dict):
        raise BundleError(f"{version}: {bundle.TRAINING} was altered (sha256); use another version")
    return training
