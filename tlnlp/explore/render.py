"""Render the templates. Every value is escaped, and a character that a browser would obey is shown as an escape."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from tlnlp.explore.params import address
from tlnlp.runs.console import visible

_SHOWN_CHARS = 200
# What tells templates of several uses that they are pages of the application.
LINKED = {"linked": True, "layout": "layout.html.jinja"}


def render(template: str, values: Mapping[str, Any]) -> str:
    """Return a page as HTML."""
    return _environment().get_template(template).render(values)


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("tlnlp.explore"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"shown": shown, "number": number, "share": share, "points": points}
    environment.globals["address"] = address
    return environment


def shown(value: Any, most: int = _SHOWN_CHARS) -> str:
    """Return a value of a row for people, cut in the middle where it has more than ``most`` characters."""
    if value is None:
        return "-"
    text = str(value)
    if len(text) > most:
        text = f"{text[: most // 2]} … {text[-most // 2 :]}"
    return visible(text)


def number(value: Any) -> str:
    """Return a whole number with separators, or a score with three decimals."""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:.3f}"
    return "-" if value is None else shown(value)


def share(value: float | None) -> str:
    """Return a share in percent."""
    return "-" if value is None else f"{value:.1%}"


def points(value: float | None) -> str:
    """Return the change of a share in points, with its sign."""
    if value is None:
        return "-"
    return "0.0" if abs(value) < 0.0005 else f"{value * 100:+.1f}"
