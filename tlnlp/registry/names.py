"""How users name a model and a version, and how versions are named in turn."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tlnlp.errors import UsageError

CHAMPION = "champion"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")


@dataclass(frozen=True)
class ModelSpec:
    """What a user wrote: ``name`` (both None), ``name@champion`` (``alias``) or ``name@3`` (``version``)."""

    name: str
    version: int | None = None
    alias: str | None = None


@dataclass(frozen=True)
class ModelVersion:
    """A version that exists, and the URI of its folder."""

    name: str
    version: int
    uri: str

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"


def is_name(name: str) -> bool:
    return _NAME.fullmatch(name) is not None


def check_name(name: str) -> None:
    """Raises UsageError: not a name for a model."""
    if not is_name(name):
        raise UsageError(
            f"{name!r} is no model name: at most 63 of a-z, 0-9, '.', '_' and '-', the first a letter or a digit"
        )


def parse_model(spec: str) -> ModelSpec:
    """What ``name``, ``name@champion`` or ``name@3`` says.

    Raises:
        UsageError: it is none of these.
    """
    name, separator, which = spec.partition("@")
    check_name(name)
    if not separator:
        return ModelSpec(name)
    if which == CHAMPION:
        return ModelSpec(name, alias=CHAMPION)
    if re.fullmatch(r"[1-9][0-9]{0,8}", which):
        return ModelSpec(name, version=int(which))
    raise UsageError(f"{spec!r}: after @ comes a version number or 'champion', as in {name}@3 or {name}@{CHAMPION}")
