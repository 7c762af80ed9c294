"""Name the fixtures of this room, so that pytest finds them."""

from storage_fixtures import root, storage

__all__ = ["root", "storage"]
