"""Read and write any store (local folder, S3, GCS, Azure) through one interface, and normalise URIs."""

from tlnlp.storage.store import Entry, Storage, Tagged
from tlnlp.storage.uri import join_uri, local_path, resolve_uri

__all__ = ["Entry", "Storage", "Tagged", "join_uri", "local_path", "resolve_uri"]
