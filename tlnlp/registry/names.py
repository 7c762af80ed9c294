"""Check the names of models, and parse references to a model version."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from tlnlp.errors import UsageError

CHAMPION = "champion"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")


@dataclass(frozen=True)
class ModelSpec:
    """Hold a parsed reference to a model.

    ``name@3`` sets ``version``, ``name@champion`` sets ``alias``, and ``name`` sets neither.
    """

    name: str
    version: int | None = None
    alias: str | None = None


@dataclass(frozen=True)
class ModelVersion:
    """Identify an existing version of a model; ``uri`` is its folder."""

    name: str
    version: int
    uri: str

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"


def is_name(name: str) -> bool:
    """Return whether a text is a valid model name."""
    return _NAME.fullmatch(name) is not None


def nearest_first(name: str, names: Iterable[str]) -> list[str]:
    """Return ``names``, the one most similar to ``name`` first."""
    return sorted(names, key=lambda one: -difflib.SequenceMatcher(None, name, one).ratio())


def check_name(name: str) -> None:
    """Check a model name.

    Raises:
        UsageError: the name is not valid.
    """
    if not is_name(name):
        raise UsageError(
            f"{name!r} is no model name: use at most 63 of a-z, 0-9, '.', '_' and '-', first a letter or a digit"
        )


def parse_model(spec: str) -> ModelSpec:
    """Parse ``name``, ``name@champion`` or ``name@3``.

    Raises:
        UsageError: the text has none of these forms.
    """
    name, separator, which = spec.partition("@")
    check_name(name)
    if not separator:
        return ModelSpec(name)
    if which == CHAMPION:
        return ModelSpec(name, alias=CHAMPION)
    if re.fullmatch(r"[1-9][0-9]{0,8}", which):
        return ModelSpec(name, version=int(which))
    raise UsageError(f"{spec!r}: after @ must come a version number or 'champion', as in {name}@3 or {name}@{CHAMPION}")
