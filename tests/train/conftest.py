"""Name the fixtures of this room, so that pytest finds them."""

from train_fixtures import cluster

__all__ = ["cluster"]
