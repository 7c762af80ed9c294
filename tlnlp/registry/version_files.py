"""Check the files of a version before they are stored or fetched: the closed list, as the manifest states it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tlnlp.errors import BundleError, listed
from tlnlp.model import bundle
from tlnlp.model.bounded_json import check_size
from tlnlp.storage import Storage, local_path


def finished_bundle(folder: Path) -> tuple[bytes, list[str]]:
    """Read the manifest of a local bundle and check that exactly its files exist; return it and their names.

    Raises:
        BundleError: the manifest or a file is missing, a file is not in the manifest, or is no regular file.
    """
    try:
        check_size((folder / bundle.MANIFEST).stat().st_size, str(folder), bundle.MANIFEST_LIMIT_BYTES)
        manifest = (folder / bundle.MANIFEST).read_bytes()
        present = bundle.regular_files(folder) - {bundle.MANIFEST}
    except FileNotFoundError as error:
        raise BundleError(
            f"{folder}: no {bundle.MANIFEST}, so the bundle is not finished; nothing was published"
        ) from error
    except OSError as error:
        raise BundleError(f"{folder}: cannot be read ({error.strerror}); nothing was published") from error
    files = sorted(bundle.parse_manifest(manifest, str(folder / bundle.MANIFEST)))
    if missing := sorted(set(files) - present):
        raise BundleError(f"{folder}: {listed(missing)} missing; nothing was published")
    if extra := sorted(present - set(files)):
        raise BundleError(f"{folder}: {listed(extra)} not in the manifest; nothing was published")
    return manifest, files


def files_of_version(source: Storage, version: object) -> list[str]:
    """Return the names of the files of a stored version, after a check that it holds exactly those of its manifest.

    Args:
        source: the folder of the version.
        version: the version, for messages.

    Raises:
        BundleError: the manifest is damaged; a file is missing, unlisted, of another size or no regular file.
        StorageError: the store cannot be read.
    """
    check_regular(source, version)
    sizes = {entry.key: entry.size_bytes for entry in source.list()}
    files = _manifest_files(source, sizes.pop(bundle.MANIFEST, 0))
    if extra := sorted(sizes.keys() - files.keys()):
        raise BundleError(
            f"{version}: {listed(extra)} stored but not in the manifest; the version was altered, use another one"
        )
    if missing := sorted(files.keys() - sizes.keys()):
        raise BundleError(f"{version}: {listed(missing)} missing from {source.uri}; use another version")
    for name, entry in files.items():
        if sizes[name] != entry["size_bytes"]:
            raise BundleError(
                f"{version}: {name} has {sizes[name]:,} bytes, and {entry['size_bytes']:,} by the manifest; "
                "the version was altered, use another one"
            )
    return sorted(files)


def check_regular(source: Storage, version: object) -> None:
    """Check that a version in a local folder consists of regular files. A link could lead out of the registry.

    Raises:
        BundleError: the folder of the version is a link, or something in it is neither a file nor a folder.
    """
    path = local_path(source.uri)
    if path is None:
        return
    if path.is_symlink():
        raise BundleError(f"{version}: {path} is a symbolic link; a version holds only regular files, use another one")
    bundle.regular_files(path)


def _manifest_files(source: Storage, size_bytes: int) -> Mapping[str, Mapping[str, Any]]:
    where = source.url(bundle.MANIFEST)
    check_size(size_bytes, where, bundle.MANIFEST_LIMIT_BYTES)
    return bundle.parse_manifest(source.read(bundle.MANIFEST), where)
