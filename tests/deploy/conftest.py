"""Name the fixtures of this room, so that pytest finds them."""

from deploy_fixtures import run_script

__all__ = ["run_script"]
