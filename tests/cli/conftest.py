"""Name the fixtures of this room, so that pytest finds them."""

from cli_fixtures import labels, registry, scored

__all__ = ["labels", "registry", "scored"]
