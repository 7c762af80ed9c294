"""The ``tlnlp`` command: its subcommands, each of which calls one function of the library and prints what it returns.

The docstring of each function is the text that ``--help`` shows. The functions import their part of the
library when they run, so that one subcommand does not load the packages of another.
"""

from __future__ import annotations

import os
import tempfile

import click

from tlnlp import __version__
from tlnlp.cli import encoders, models, nights
from tlnlp.cli.completion import complete_models
from tlnlp.cli.options import Call, command
from tlnlp.cli.settings_help import Keys
from tlnlp.config import RegistrySettings


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="tlnlp")
def cli() -> None:
    """Train a text classifier from a few hundred labels, and score documents into a warehouse table."""


@cli.group()
def labels() -> None:
    """Check labelled sets."""


@cli.group()
def warehouse() -> None:
    """Make the published tables readable in other warehouses."""


@command("demo", "tlnlp demo")
def demo(call: Call) -> None:
    """Run the whole path on the shipped reviews. It trains, promotes, scores, publishes and queries."""
    from tlnlp.demo.run import run_demo

    run_demo(call.workspace, call.as_json)


@command("report", "tlnlp report tickets", Keys(RegistrySettings))
@click.argument("model", shell_complete=complete_models)
@click.option("--out", metavar="DIR", help="Write the page here.  [default: report-<name>-<version>]")
@click.option("--with-texts", is_flag=True, help="Show the texts of labels to check. Reads the labels again.")
def _report(call: Call, model: str, out: str | None, with_texts: bool) -> None:
    """Write an HTML page about MODEL. It shows cross-validated accuracy, baselines, and labels that look wrong."""
    settings = call.settings(RegistrySettings)
    with tempfile.TemporaryDirectory(prefix="tlnlp-") as folder:
        os.environ.setdefault("MPLCONFIGDIR", folder)  # Else Matplotlib writes a list of fonts into the home folder.
        from tlnlp.report.version import report_version

        call.show_result(report_version(settings.registry, model, out, with_texts=with_texts))


def main() -> None:
    """Run the ``tlnlp`` script."""
    cli(prog_name="tlnlp")


labels.add_command(models.check)
warehouse.add_command(nights.ddl)
warehouse.add_command(nights.announce)
for subcommand in (
    demo, _report, encoders.encoders, models.finetune, models.evaluate, models.promote, models.rollback, models.models,
    nights.score, nights.plan, nights.query, nights.runs,
):  # fmt: skip
    cli.add_command(subcommand)
