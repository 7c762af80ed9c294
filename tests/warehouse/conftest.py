"""Name the fixtures of this room, so that pytest finds them."""

from warehouse_fixtures import odd, warehouse

__all__ = ["odd", "warehouse"]
