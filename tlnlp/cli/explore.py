"""The subcommand that shows the scored documents in a browser."""

from __future__ import annotations

import json

import click

from tlnlp.cli.options import Call, command
from tlnlp.cli.settings_help import Keys
from tlnlp.config import ExploreSettings


@command(
    "explore",
    "tlnlp explore --set table=tickets",
    Keys(ExploreSettings, first=("warehouse", "registry", "table", "documents", "host", "port")),
)
def explore(call: Call) -> None:
    """Show the scored documents as pages for a browser. Prints their URL, and serves them until Ctrl-C."""
    settings = call.settings(ExploreSettings)
    from tlnlp.explore.serve import serve

    def ready(url: str) -> None:
        """Print the URL. It may hold a token, which is meant to be seen here: it is not masked."""
        click.echo(json.dumps({"url": url}) if call.as_json else url)

    serve(settings, ready)
