"""How every configuration is made: frozen and typed, unknown keys refused, one way to override a key."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from tlnlp.errors import UsageError
from tlnlp.storage import resolve_uri


def _as_date(value: object) -> object:
    # YAML reads 2026-11-23 as a date, the command line as text; a datetime would hide which day was meant.
    if isinstance(value, str) and not re.fullmatch(r"\d{4}-\d{2}-\d{2}", value):
        raise ValueError("write the day as YYYY-MM-DD")
    return value


Day = Annotated[date, BeforeValidator(_as_date)]
Uri = Annotated[str, BeforeValidator(lambda value: resolve_uri(value) if isinstance(value, str) and value else value)]
Names = Annotated[tuple[str, ...], BeforeValidator(lambda value: _split_names(value))]


def _split_names(value: object) -> object:
    return [name.strip() for name in value.split(",") if name.strip()] if isinstance(value, str) else value


class Settings(BaseModel):
    """Base of every configuration: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), validate_default=True)


S = TypeVar("S", bound=Settings)


def load_settings(
    kind: type[S],
    file: str | Path | None = None,
    overrides: Sequence[str] = (),
    defaults: Mapping[str, object] | None = None,
    given: Mapping[str, object] | None = None,
) -> S:
    """Settings from ``defaults``, a YAML file, ``key=value`` overrides and ``given``, each over the one before.

    Raises:
        UsageError: the file cannot be read, a key is unknown (names the nearest), a value does not fit.
    """
    values: dict[str, Any] = dict(defaults or {})
    if file is not None:
        values |= read_yaml(file)
    for override in overrides:
        _apply(values, override)
    values |= given or {}
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        where = f"{file}: " if file is not None else ""
        raise UsageError("\n".join(where + _explain(kind, problem) for problem in error.errors())) from error


def read_yaml(file: str | Path) -> dict[str, Any]:
    """The keys of a config file as they stand. Raises UsageError."""
    try:
        content = yaml.safe_load(Path(file).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file}: cannot read the config file ({type(error).__name__})") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark is not None else ""
        raise UsageError(f"{file}{line}: not valid YAML") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UsageError(f"{file}: must hold `key: value` lines")
    return {str(key): value for key, value in content.items()}


def _apply(values: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not key.strip():
        raise UsageError(f"--set {override}: write key=value")
    try:
        value = yaml.safe_load(text) if text else ""
    except (yaml.YAMLError, ValueError):
        value = text
    *parents, last = key.strip().split(".")
    for parent in parents:
        inner = values.get(parent)
        values[parent] = dict(inner) if isinstance(inner, Mapping) else {}
        values = values[parent]
        if parent == "conf":  # A Spark property has dots of its own.
            last = key.strip().split(".conf.", 1)[1]
            values[last] = text
            return
    # Text that YAML would turn into something else (a date, a number) is left to the typed field.
    values[last] = value if isinstance(value, (list, dict, bool, type(None))) else text


def _explain(kind: type[Settings], problem: Any) -> str:
    path = [str(part) for part in problem["loc"]]
    key = ".".join(path)
    if problem["type"] == "extra_forbidden":
        names = _keys_at(kind, path[:-1])
        near = difflib.get_close_matches(path[-1], names, n=1, cutoff=0.4)
        hint = f"did you mean {'.'.join([*path[:-1], near[0]])!r}?" if near else f"known keys: {', '.join(names)}"
        return f"unknown key {key!r}; {hint}"
    if problem["type"] == "missing":
        return f"{key!r} is not set; give it in the config file or as --set {key}=..."
    return f"{key!r}: {problem['msg'].removeprefix('Value error, ')}"


def _keys_at(kind: type[Settings], path: Sequence[str]) -> list[str]:
    current: type[Settings] = kind
    for part in path:
        annotation = current.model_fields[part].annotation if part in current.model_fields else None
        if not (isinstance(annotation, type) and issubclass(annotation, Settings)):
            return []
        current = annotation
    return list(current.model_fields)
