"""Name the fixtures of this room, so that pytest finds them."""

from bench_fixtures import folder

__all__ = ["folder"]
