"""What a shell offers when the user presses Tab: settings keys after ``--set``, and the names of models."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem

from tlnlp.cli.settings_help import SettingsCommand
from tlnlp.config import DEFAULT_WORKSPACE
from tlnlp.errors import TlnlpError


def complete_keys(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the settings keys of the command that begin with ``incomplete``, each with what it means."""
    keys = context.command.keys if isinstance(context.command, SettingsCommand) else None
    rows = [row for _, section in keys.sections() for row in section] if keys is not None else []
    return [CompletionItem(name, help=text.partition(". ")[0]) for name, text in rows if name.startswith(incomplete)]


def complete_models(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the names of models in the registry of the command line so far; none if it cannot be read."""
    # Imported late: the completion of other words needs no registry.
    from tlnlp.registry import Registry

    places = {"registry": f"{context.params.get('workspace') or DEFAULT_WORKSPACE}/registry"}
    places |= {key: value for key, _, value in (one.partition("=") for one in context.params.get("overrides") or ())}
    try:
        names = Registry(places["registry"]).models()
    except TlnlpError:
        return []  # An error message would stand in the middle of the line that the user types.
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]
