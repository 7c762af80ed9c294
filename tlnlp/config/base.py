"""The base class of all settings, and the one way to load them.

Settings are frozen and typed; an unknown key is an error. A YAML file gives the values, ``key=value`` overrides them.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, BeforeValidator, ByteSize, ConfigDict, ValidationError

from tlnlp.errors import UsageError
from tlnlp.storage import resolve_uri
from tlnlp.storage.causes import reason_of


def _as_date(value: object) -> object:
    # YAML gives a date, the command line gives text. A text with a time of day is refused: its time zone is unknown.
    if isinstance(value, str) and not re.fullmatch(r"\d{4}-\d{2}-\d{2}", value):
        raise ValueError("write the day as YYYY-MM-DD")
    return value


__all__ = ["ByteSize", "Day", "Names", "Settings", "Uri", "load_settings", "read_yaml"]

Day = Annotated[date, BeforeValidator(_as_date)]
Uri = Annotated[str, BeforeValidator(lambda value: resolve_uri(value) if isinstance(value, str) and value else value)]
Names = Annotated[tuple[str, ...], BeforeValidator(lambda value: _split_names(value))]


def _split_names(value: object) -> object:
    return [name.strip() for name in value.split(",") if name.strip()] if isinstance(value, str) else value


class Settings(BaseModel):
    """Base class of all settings: frozen, and an unknown key is an error."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        protected_namespaces=(),
        validate_default=True,
        use_attribute_docstrings=True,  # The text below a key is its description, which ``--help`` shows.
    )


S = TypeVar("S", bound=Settings)


def load_settings(
    kind: type[S],
    file: str | Path | None = None,
    overrides: Sequence[str] = (),
    defaults: Mapping[str, object] | None = None,
    given: Mapping[str, object] | None = None,
) -> S:
    """Load settings from ``defaults``, a YAML file, overrides and ``given``, each over the one before.

    Args:
        kind: the settings class.
        file: path of a YAML file, or None.
        overrides: ``key=value`` texts; a dot leads into a group of keys (``ray.workers=2``).
        defaults: values for keys that nothing else sets.
        given: values that win over all others.

    Raises:
        UsageError: the file cannot be read, a key is unknown (the error names the most similar one), or a value does
            not fit its key.
    """
    in_file = read_yaml(file) if file is not None else {}
    values: dict[str, Any] = dict(defaults or {}) | in_file
    for override in overrides:
        _apply(values, override)
    values |= given or {}
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        where = f"{file}: " if file is not None else ""
        if (other := _other_job(kind, set(in_file))) is not None:
            needed = _job(kind)
            raise UsageError(f"{file} is a config of {other}: {needed} needs a file with its own keys") from error
        # A mistyped key comes before the key that is missing because of it.
        problems = sorted(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden")
        raise UsageError("\n".join(where + _explain(kind, problem) for problem in problems)) from error


class _RepeatedKeyError(yaml.MarkedYAMLError):
    """A key is written twice in one mapping."""


class _UniqueKeys(yaml.SafeLoader):
    """Read YAML as ``yaml.safe_load`` does, but refuse a key that is written twice: the last one would win silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return the keys and values of a mapping. Raises _RepeatedKeyError where a key is repeated."""
        seen = set[str]()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise _RepeatedKeyError(problem=f"the key {key.value} is there twice", problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_yaml(file: str | Path) -> dict[str, Any]:
    """Return the keys and values of a config file, without checking them against a settings class.

    Raises:
        UsageError: the file cannot be read, is not YAML, or holds no ``key: value`` lines.
    """
    try:
        content = yaml.load(Path(file).read_text(encoding="utf-8"), _UniqueKeys)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{file}: cannot read the config file ({reason_of(error)}): check the path and that the text is UTF-8"
        ) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark is not None else ""
        if isinstance(error, _RepeatedKeyError):
            raise UsageError(f"{file}{line}: {error.problem}: remove one of its lines") from error
        raise UsageError(f"{file}{line}: the config file is not valid YAML: correct it there") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UsageError(f"{file}: the config file holds no keys: write it as `key: value` lines")
    return {str(key): value for key, value in content.items()}


def _other_job(kind: type[Settings], keys: set[str]) -> str | None:
    """Return the name of the job that has all keys of a file, where ``kind`` lacks some of them."""
    if keys <= kind.model_fields.keys():
        return None
    fitting = [other for other in _subclasses(Settings) if keys <= other.model_fields.keys()]
    return _job(min(fitting, key=lambda other: len(other.model_fields))) if fitting else None


def _subclasses(kind: type[Settings]) -> Iterator[type[Settings]]:
    for other in kind.__subclasses__():
        yield other
        yield from _subclasses(other)


def _job(kind: type[Settings]) -> str:
    return kind.__name__.removesuffix("Settings").lower()


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
        if parent == "conf":  # The name of a Spark property has dots of its own.
            last = key.strip().split(".conf.", 1)[1]
            values[last] = text
            return
    # Dates and numbers stay text here: the type of the field decides how to read them. So does `a: b.csv`, a file name.
    is_meant = isinstance(value, bool | None) or (isinstance(value, list | dict) and text.lstrip()[0] in "[{")
    values[last] = value if is_meant else text


def _explain(kind: type[Settings], problem: Any) -> str:
    path = [str(part) for part in problem["loc"]]
    key = ".".join(path)
    if problem["type"] == "extra_forbidden":
        names = _keys_at(kind, path[:-1])
        similar = difflib.get_close_matches(path[-1], names, n=1, cutoff=0.4)
        hint = f"did you mean {'.'.join([*path[:-1], similar[0]])!r}?" if similar else f"known keys: {', '.join(names)}"
        return f"unknown key {key!r}; {hint}"
    if problem["type"] == "missing":
        return f"{key!r} is not set; give it in the config file or as --set {key}=..."
    if path[0] in ("classes", "class_descriptions") and (meant := _not_quoted(problem["input"])):
        return f'{key!r}: YAML reads {meant} unless it is in quotes: write names of classes in quotes, as in "no"'
    return f"{key!r}: {problem['msg'].removeprefix('Value error, ')}"


def _not_quoted(value: object) -> str:
    """Return what YAML made of a word that was meant as text; empty where it is of another type than plain values."""
    if isinstance(value, bool):
        return f"{'yes, on or true' if value else 'no, off or false'} as a truth value"
    if isinstance(value, int | float):
        return f"{value} as a number"
    if isinstance(value, date):
        return f"{value} as a date"
    return "null as no value" if value is None else ""


def _keys_at(kind: type[Settings], path: Sequence[str]) -> list[str]:
    current: type[Settings] = kind
    for part in path:
        annotation = current.model_fields[part].annotation if part in current.model_fields else None
        if not (isinstance(annotation, type) and issubclass(annotation, Settings)):
            return []
        current = annotation
    return list(current.model_fields)
