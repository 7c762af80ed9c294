"""One way to every store (a folder, S3, GCS, Azure), and what a URI means."""

from tlnlp.storage.store import Entry, Storage, Tagged
from tlnlp.storage.uri import join_uri, local_path, resolve_uri

__all__ = ["Entry", "Storage", "Tagged", "join_uri", "local_path", "resolve_uri"]
