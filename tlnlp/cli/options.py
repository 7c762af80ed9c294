"""What every subcommand of ``tlnlp`` shares: common options, loading of settings, and printing of results."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

import click

from tlnlp.cli.completion import complete_keys
from tlnlp.cli.entry import guarded, leave
from tlnlp.cli.settings_help import Keys, SettingsCommand
from tlnlp.config import DEFAULT_WORKSPACE, LabellingSettings, Settings, load_settings, read_yaml
from tlnlp.runs import console
from tlnlp.runs.progress import say

S = TypeVar("S", bound=Settings)


class Result(Protocol):
    """What the function behind a command or a job returns."""

    def to_json(self) -> dict[str, Any]:
        """Return all values as a JSON object."""
        ...


class ShownResult(Result, Protocol):
    """A result that has another form for people."""

    def facts(self) -> dict[str, Any]:
        """Return what a terminal shows."""
        ...


class Call:
    """The values of the common options in one call of a subcommand.

    Args:
        config: path of a YAML file of settings, or None.
        overrides: ``key=value`` texts, each over the file.
        workspace: folder of the default registry and warehouse.
        as_json: whether the result is printed as one JSON document.
    """

    def __init__(self, config: str | None, overrides: tuple[str, ...], workspace: str, as_json: bool) -> None:
        self.config, self.overrides, self.workspace, self.as_json = config, list(overrides), workspace, as_json

    def settings(self, kind: type[S], **given: object) -> S:
        """Load settings from the workspace, the config file, the overrides and ``given``, each over the one before.

        Args:
            kind: the settings class.
            given: values that the user wrote as arguments or options of the subcommand.

        Raises:
            UsageError: the file cannot be read, a key is unknown, or a value does not fit.
        """
        defaults: dict[str, object] = {}
        # The commands by which people label have default labels; all others need the name of theirs.
        own = ("queue", "labels") if issubclass(kind, LabellingSettings) else ()
        for place in ("registry", "warehouse", *own):
            if place in kind.model_fields:
                defaults[place] = f"{self.workspace}/{place}"
        return load_settings(kind, self.config, self.overrides, defaults, given)

    def default_day(self) -> None:
        """Set ``score_date`` to today (UTC) where it is not given, and print that day on stderr."""
        if not self._sets("score_date"):
            today = datetime.now(UTC).date().isoformat()
            say(f"score_date is not set: the day is today, {today} (UTC)")
            self.overrides.append(f"score_date={today}")

    def _sets(self, key: str) -> bool:
        in_file = self.config is not None and read_yaml(self.config).get(key) is not None
        return in_file or any(override.split("=", 1)[0].strip() == key for override in self.overrides)

    def show(self, result: dict[str, Any]) -> None:
        """Print one result: as JSON with ``--json``, else one line a key."""
        console.print_json(result) if self.as_json else console.print_facts(result)

    def show_result(self, result: ShownResult) -> None:
        """Print one result: all its values as JSON with ``--json``, else the facts that a person reads."""
        self.show(result.to_json() if self.as_json else result.facts())

    def show_list(self, rows: list[dict[str, Any]], columns: list[str]) -> None:
        """Print rows: all their keys as JSON with ``--json``, else a table of ``columns``."""
        if self.as_json:
            console.print_json(rows)
        else:
            console.print_rows(columns, [[row.get(column) for column in columns] for row in rows])


CONFIG = click.option("--config", metavar="FILE", help="A YAML file of settings, as in conf/.")
SET = click.option(
    "--set",
    "overrides",
    metavar="KEY=VALUE",
    multiple=True,
    help="Set one key, over the file; repeatable.",
    shell_complete=complete_keys,
)
DEBUG = click.option("--debug", is_flag=True, help="Print the traceback of an error.")
_WORKSPACE = click.option(
    "--workspace",
    metavar="DIR",
    default=DEFAULT_WORKSPACE,
    show_default=True,
    help="Folder of the default registry, warehouse, labels and queue.",
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")


def command(
    name: str,
    example: str,
    keys: Keys | None = None,
    cls: type[SettingsCommand] = SettingsCommand,
    **attributes: Any,
) -> Callable[[Callable[..., None]], SettingsCommand]:
    """Return a decorator that makes a function a subcommand with the common options.

    The function is called with a ``Call`` first, then with its own arguments and options.

    Args:
        name: the name of the subcommand.
        example: a line for a shell, which ``--help`` shows.
        keys: the settings keys that ``--help`` shows.
        cls: the class of the subcommand.
        attributes: further attributes of that class.
    """

    def register(body: Callable[..., None]) -> SettingsCommand:
        def run(
            config: str | None, overrides: tuple[str, ...], workspace: str, as_json: bool, debug: bool, **own: Any
        ) -> None:
            code = guarded(lambda: body(Call(config, overrides, workspace, as_json), **own), debug)
            leave(code)

        run.__doc__ = body.__doc__
        run.__click_params__ = getattr(body, "__click_params__", [])  # type: ignore[attr-defined]
        for option in (DEBUG, _JSON, _WORKSPACE, SET, CONFIG):
            run = option(run)
        return click.command(name, cls=cls, example=example, keys=keys, **attributes)(run)

    return register
