"""The ``tlnlp`` command: its subcommands, each of which calls one function of the library and prints what it returns.

The docstring of each function is the text that ``--help`` shows. The functions import their part of the
library when they run, so that one subcommand does not load the packages of another.
"""

from __future__ import annotations

import os
import tempfile

import click

from tlnlp import __version__
from tlnlp.cli import encoders, explain, explore, models, nights, queue
from tlnlp.cli.completion import complete_models
from tlnlp.cli.options import Call, command
from tlnlp.cli.settings_help import Keys
from tlnlp.config import RegistrySettings, ReportSettings
from tlnlp.errors import UsageError


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


@command("report", "tlnlp report tickets", Keys(ReportSettings))
@click.argument("model", required=False, shell_complete=complete_models)
@click.option("--night", is_flag=True, help="Write one page about a night of a table, in place of a model.")
@click.option(
    "--out",
    metavar="PATH",
    help="Write here.  [default: the folder report-<name>-<version>, or the file night-<table>-<day>.html]",
)
@click.option("--with-texts", is_flag=True, help="Show the texts of labels to check. Reads the labels again.")
def _report(call: Call, model: str | None, night: bool, out: str | None, with_texts: bool) -> None:
    """Write an HTML page about MODEL, or about a night (--night).

    It shows cross-validated accuracy, baselines, and labels that look wrong; or what a night has scored.
    """
    if night == (model is not None):
        raise UsageError("a report is of a model or of a night: name a MODEL, or give --night")
    settings = call.settings(ReportSettings)
    if night and with_texts:
        raise UsageError("--with-texts shows the texts of labels, and the report of a night has none: leave it out")
    if night:
        from tlnlp.explore.night_file import report_night

        call.show_result(report_night(settings, out))
        return
    assert model is not None
    with tempfile.TemporaryDirectory(prefix="tlnlp-") as folder:
        os.environ.setdefault("MPLCONFIGDIR", folder)  # Else Matplotlib writes a list of fonts into the home folder.
        from tlnlp.report.version import report_version

        call.show_result(report_version(settings.registry, model, out, with_texts=with_texts))


@command("export", "tlnlp export tickets --out tickets-model", Keys(RegistrySettings))
@click.argument("model", shell_complete=complete_models)
@click.option("--out", metavar="DIR", help="Write the folder here.  [default: <name>-<version>]")
def export(call: Call, model: str, out: str | None) -> None:
    """Write the encoder of MODEL as a Hugging Face folder, with a model card made from its report."""
    settings = call.settings(RegistrySettings)
    from tlnlp.report.export import export_version

    call.show_result(export_version(settings.registry, model, out))


def main() -> None:
    """Run the ``tlnlp`` script."""
    cli(prog_name="tlnlp")


labels.add_command(models.check)
warehouse.add_command(nights.ddl)
warehouse.add_command(nights.announce)
for subcommand in (
    demo, _report, encoders.encoders, models.finetune, models.evaluate, models.promote, models.rollback, models.models,
    export,
    nights.score, nights.plan, explain.explain, nights.query, explore.explore, queue.queue, nights.maintain,
    nights.runs,
):  # fmt: skip
    cli.add_command(subcommand)
