"""What a version was trained on, and what is known of it: its ``training.json``, without its weights."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from tlnlp.errors import BundleError, NotFoundError
from tlnlp.model import bundle
from tlnlp.registry.names import ModelVersion
from tlnlp.storage import Storage


def read_training(version: ModelVersion) -> dict[str, Any]:
    """The version's ``training.json``, held to its manifest. The weights stay where they are.

    Raises:
        BundleError: it is missing, altered or not what it should be.
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
        raise BundleError(f"{version}: {bundle.TRAINING} cannot be read ({type(error).__name__})") from error
    if hashlib.sha256(data).hexdigest() != expected or not isinstance(training, dict):
        raise BundleError(f"{version}: {bundle.TRAINING} was altered (sha256); use another version")
    return training
