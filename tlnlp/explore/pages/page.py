"""What a page is: a path, a title, and a function that returns the values of its template."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tlnlp.explore.explorer import Explorer
from tlnlp.explore.params import Params

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Page:
    """A page of the application.

    Fields:
        path: the path of its address.
        title: its title.
        template: the name of its template.
        values: returns the values of the template, from what all pages share and from the address.
        listed: whether the page stands in the navigation.
    """

    path: str
    title: str
    template: str
    values: Callable[[Explorer, Params], Values]
    listed: bool = True
