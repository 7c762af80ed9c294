"""What every subcommand of ``tlnlp`` has in common: its options, its settings, and how it shows a result."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

import click

from tlnlp.cli.entry import guarded
from tlnlp.config import DEFAULT_WORKSPACE, Settings, load_settings, read_yaml
from tlnlp.runs import console
from tlnlp.runs.progress import say

S = TypeVar("S", bound=Settings)


class Call:
    """The options that every command takes, and what they mean for its settings."""

    def __init__(self, config: str | None, overrides: tuple[str, ...], workspace: str, as_json: bool) -> None:
        self.config, self.overrides, self.workspace, self.as_json = config, list(overrides), workspace, as_json

    def settings(self, kind: type[S], **given: object) -> S:
        """Settings of a kind; ``given`` are arguments of the command line, which win."""
        defaults: dict[str, object] = {}
        for place in ("registry", "warehouse"):
            if place in kind.model_fields:
                defaults[place] = f"{self.workspace}/{place}"
        return load_settings(kind, self.config, self.overrides, defaults, given)

    def default_day(self) -> None:
        """The command line may leave ``score_date`` out: it is then today, and is told."""
        if not self._says("score_date"):
            today = datetime.now(UTC).date().isoformat()
            say(f"score_date is not set: today, {today} (UTC)")
            self.overrides.append(f"score_date={today}")

    def _says(self, key: str) -> bool:
        in_file = self.config is not None and read_yaml(self.config).get(key) is not None
        return in_file or any(override.split("=", 1)[0].strip() == key for override in self.overrides)

    def show(self, result: dict[str, Any]) -> None:
        console.print_json(result) if self.as_json else console.print_facts(result)

    def show_list(self, rows: list[dict[str, Any]], columns: list[str]) -> None:
        if self.as_json:
            console.print_json(rows)
        else:
            console.print_rows(columns, [[row.get(column) for column in columns] for row in rows])


def command(group: click.Group, name: str, **kind: Any) -> Callable[[Callable[..., None]], click.Command]:
    """Register a subcommand with the common options; it gets a ``Call`` first, then its own arguments.

    ``kind``: how click is to make it, as for ``click.Group.command``.
    """

    def register(body: Callable[..., None]) -> click.Command:
        def run(
            config: str | None, overrides: tuple[str, ...], workspace: str, as_json: bool, debug: bool, **own: Any
        ) -> None:
            code = guarded(lambda: body(Call(config, overrides, workspace, as_json), **own), debug)
            if code:
                sys.exit(code)

        run.__doc__ = body.__doc__
        run.__click_params__ = getattr(body, "__click_params__", [])  # type: ignore[attr-defined]
        for option in reversed(_OPTIONS):
            run = option(run)
        return group.command(name, **kind)(run)

    return register


_OPTIONS: list[Callable[[Any], Any]] = [
    click.option("--config", metavar="FILE", help="A complete YAML file, as in conf/."),
    click.option("--set", "overrides", metavar="KEY=VALUE", multiple=True, help="Override one key; repeatable."),
    click.option(
        "--workspace", metavar="DIR", default=DEFAULT_WORKSPACE, show_default=True, help="Registry, warehouse."
    ),
    click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout."),
    click.option("--debug", is_flag=True, help="Show the traceback of an error."),
]
