"""Describe the keys of a settings class for people: the text below each field, its default, its choices."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from tlnlp.config import ByteSize, Settings


@dataclass(frozen=True)
class SettingsKey:
    """Describe one key.

    Fields:
        name: the key, with a dot after each group: ``ray.workers``.
        text: what the key means: the string below its field.
        default: the default as ``--set`` writes it; None where the key is required.
        choices: the allowed values; empty where they are not a short list.
    """

    name: str
    text: str
    default: str | None
    choices: tuple[str, ...] = ()

    def __str__(self) -> str:
        default = "required" if self.default is None else f"default: {self.default or 'empty'}"
        return f"{self.text}  [{'; '.join([*([' | '.join(self.choices)] if self.choices else []), default])}]"


@dataclass(frozen=True)
class KeyGroup:
    """Describe the keys of one level of a settings class.

    Fields:
        name: the key of the group; empty for the class itself.
        text: what the group is about.
        keys: all keys below, those of inner groups included.
    """

    name: str
    text: str
    keys: tuple[SettingsKey, ...]


def describe_settings(kind: type[Settings]) -> list[KeyGroup]:
    """Return the keys of a settings class: first those that stand in no group, then each group, in their order."""
    plain, groups = list[SettingsKey](), list[KeyGroup]()
    for name in kind.model_fields:
        keys = tuple(_keys(kind, name, ""))
        if _inner(kind, name) is None:
            plain += keys
        else:
            groups.append(KeyGroup(name, _text(kind, name), keys))
    return [KeyGroup("", "", tuple(plain)), *groups]


def _keys(kind: type[Settings], name: str, prefix: str) -> Iterator[SettingsKey]:
    inner = _inner(kind, name)
    if inner is not None:
        for each in inner.model_fields:
            yield from _keys(inner, each, f"{prefix}{name}.")
        return
    field = kind.model_fields[name]
    default = None if field.is_required() else _written(field.get_default(call_default_factory=True))
    choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
    yield SettingsKey(prefix + name, _text(kind, name), default, tuple(map(str, choices)))


def _inner(kind: type[Settings], name: str) -> type[Settings] | None:
    """Return the settings class of a key that is a group; None of any other key."""
    annotation = kind.model_fields[name].annotation
    return annotation if isinstance(annotation, type) and issubclass(annotation, Settings) else None


def _text(kind: type[Settings], name: str) -> str:
    """Return the string below a field, on one line; an empty text where there is none."""
    return " ".join((kind.model_fields[name].description or "").split())


def _written(value: Any) -> str:
    """Return a default as ``--set`` takes it; an empty text for what is empty."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (tuple, dict)):
        return ",".join(map(str, value))
    if isinstance(value, ByteSize):
        return value.human_readable(decimal=True)
    if isinstance(value, float):
        return f"{value:g}"
    return "null" if value is None else str(value)
