"""Commands whose ``--help`` shows an example and the settings keys, with the meaning and default of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import click

from tlnlp.config import Settings

HEADING = "Settings (in --config FILE or by --set KEY=VALUE)"


@dataclass(frozen=True)
class Keys:
    """State which settings keys a command takes.

    Fields:
        kind: the settings class of the command.
        first: the keys that users set most, in the order in which help shows them.
        only: the keys that have an effect; empty: all of them.
        given: keys whose value an argument of the command gives, each with the name of the argument.
    """

    kind: type[Settings]
    first: Sequence[str] = ()
    only: Sequence[str] = ()
    given: Mapping[str, str] = field(default_factory=dict)

    def sections(self) -> list[tuple[str, list[tuple[str, str]]]]:
        """Return headings, each with pairs of a key and its description: the keys of no group come first."""
        # Imported late: only help needs the descriptions.
        from tlnlp.cli.settings_keys import describe_settings

        sections = []
        for group in describe_settings(self.kind):
            if self.only and group.name and group.name not in self.only:
                continue
            names = [key.name for key in group.keys if group.name or not self.only or key.name in self.only]
            order = [
                *(name for name in self.first if name in names),
                *(name for name in names if name not in self.first),
            ]
            texts = {key.name: str(key) for key in group.keys} | {
                name: f"The argument {argument} gives it." for name, argument in self.given.items()
            }
            heading = f"{group.name}: {group.text.rstrip('.')}" if group.name else HEADING
            sections.append((heading, [(name, _shown(texts[name])) for name in order]))
        return sections


def _shown(text: str) -> str:
    """Return a description in the words of a command line, where YAML's ``null`` stands for None."""
    return text.replace("``", "`").replace("None:", "null:")


class SettingsCommand(click.Command):
    """A command with an example below its description, and its settings keys below its options.

    Args:
        example: a line for a shell.
        keys: the settings keys; None where the command has none.
    """

    def __init__(self, *args: Any, example: str = "", keys: Keys | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.example, self.keys = example, keys

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the description, and the example below it."""
        super().format_help_text(ctx, formatter)
        if self.example:
            with formatter.section("Example"):
                # Not wrapped: a line for a shell is copied as it stands.
                formatter.write(f"{'':{formatter.current_indent}}{self.example}\n")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, and the settings keys below them."""
        super().format_options(ctx, formatter)
        for heading, rows in self.keys.sections() if self.keys is not None else ():
            formatter.write_paragraph()
            formatter.write_text(f"{heading}:")
            with formatter.indentation():
                formatter.write_dl(rows)


class SettingsGroup(SettingsCommand, click.Group):
    """A group of commands that is a command itself."""
