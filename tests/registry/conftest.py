"""Name the fixtures of this room, so that pytest finds them."""

from registry_fixtures import folder, registry

__all__ = ["folder", "registry"]
