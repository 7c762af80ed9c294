"""Name the fixtures of this room, so that pytest finds them."""

from score_fixtures import registry, warehouse

__all__ = ["registry", "warehouse"]
