"""Name the fixtures of this room, so that pytest finds them."""

from explore_fixtures import warehouse

__all__ = ["warehouse"]
