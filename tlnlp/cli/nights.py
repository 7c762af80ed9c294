"""The subcommands that score documents, query the published tables, and show them to other warehouses."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from tlnlp.cli.entry import ended_by_sigterm
from tlnlp.cli.options import Call, command
from tlnlp.cli.settings_help import Keys
from tlnlp.config import DdlSettings, MaintainSettings, QuerySettings, RunsSettings, ScoreSettings
from tlnlp.errors import UsageError, masked
from tlnlp.runs import console
from tlnlp.runs.progress import say
from tlnlp.warehouse.sql_dialects import DIALECTS

_FIRST = ("documents", "score_date", "model", "table", "keep_columns", "id_column", "text_column", "mode")


@command(
    "score",
    "tlnlp score --set documents=my/docs/ --set model=tickets --set table=tickets",
    Keys(ScoreSettings, first=_FIRST),
)
def score(call: Call) -> None:
    """Score one day of documents. Publishes the scores as one table snapshot. Uses Spark."""
    call.default_day()
    settings = call.settings(ScoreSettings)
    from tlnlp.score.job import score

    call.show_result(score(settings))


@command(
    "plan",
    "tlnlp plan --set documents=my/docs/ --set model=tickets --set table=tickets",
    Keys(ScoreSettings, first=_FIRST),
)
def plan(call: Call) -> None:
    """Estimate duration, memory and cost of `tlnlp score`. Scores a sample and publishes nothing."""
    call.default_day()
    settings = call.settings(ScoreSettings)
    from tlnlp.score.plan import plan

    call.show_result(plan(settings))


@command(
    "query",
    'tlnlp query "select label, count(*) from scores group by all"',
    Keys(QuerySettings, first=("warehouse", "as_of", "snapshot", "timeout_s", "memory_limit")),
)
@click.argument("sql")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "csv", "jsonl"]),
    help="How rows are printed; csv and jsonl leave out none.  [default: table]",
)
def query(call: Call, sql: str, form: str | None) -> None:
    """Run one SQL query on the tables scores and quarantine, and the views latest and history."""
    if call.as_json and form is not None:
        raise UsageError(f"--json and --format {form} exclude each other: give one of the two")
    settings = call.settings(QuerySettings)
    with ended_by_sigterm():
        from tlnlp.cli.query_formats import print_query
        from tlnlp.warehouse.query import open_query
        from tlnlp.warehouse.query_worker import Limits

        limits = Limits(settings.timeout_s, settings.memory_limit)
        places = {"catalog": settings.catalog, "as_of": settings.as_of}
        with open_query(settings.warehouse, sql, snapshot=settings.snapshot, limits=limits, **places) as stream:
            print_query(stream, "json" if call.as_json else form or "table")


@command("maintain", "tlnlp maintain --set warehouse=s3://bucket/warehouse", Keys(MaintainSettings))
def maintain(call: Call) -> None:
    """Keep a warehouse small: merge manifests, expire old snapshots, remove files that nothing refers to."""
    from tlnlp.warehouse.catalog import open_catalog
    from tlnlp.warehouse.maintain import maintain

    given = call.settings(MaintainSettings)
    catalog = open_catalog(given.warehouse, given.catalog)
    call.show_result(
        maintain(
            given.warehouse,
            catalog,
            now=datetime.now(UTC),
            keep_days=given.keep_days,
            dead_after_h=given.dead_after_h,
        )
    )


@command("runs", "tlnlp runs", Keys(RunsSettings))
def runs(call: Call) -> None:
    """List the runs of finetune and score, newest first. With --json, print their complete ledgers."""
    from tlnlp.registry import Registry
    from tlnlp.runs.ledger import list_ledgers
    from tlnlp.warehouse.run_folder import all_ledgers

    settings = call.settings(RunsSettings)
    ledgers = Registry(settings.registry).ledgers() + list_ledgers(all_ledgers(settings.warehouse))
    ledgers.sort(key=lambda ledger: str(ledger["started_at"]), reverse=True)
    if not ledgers and not call.as_json:
        say(
            f"no runs in {settings.registry} and {settings.warehouse} yet: `tlnlp finetune` and `tlnlp score` make them"
        )
        return
    call.show_list(ledgers, ["run_id", "kind", "status", "started_at", "duration_s", "counts"])


@command(
    "ddl",
    "tlnlp warehouse ddl --dialect duckdb --set table=tickets",
    Keys(DdlSettings, first=("table", "warehouse", "into", "reader")),
)
@click.option("--dialect", type=click.Choice(DIALECTS), required=True)
@click.option("--refresh", is_flag=True, help="Print what each later night needs, not the setup.")
def ddl(call: Call, dialect: Any, refresh: bool) -> None:
    """Print the SQL that shows the tables to another warehouse."""
    from tlnlp.warehouse.catalog import open_catalog
    from tlnlp.warehouse.ddl import script, statements
    from tlnlp.warehouse.published import published_pair
    from tlnlp.warehouse.sql_dialects import NOTES

    given = call.settings(DdlSettings)
    tables = published_pair(open_catalog(given.warehouse, given.catalog), given.table)
    sql = statements(tables, dialect, given, refresh=refresh)
    say(NOTES[dialect])
    if call.as_json:
        console.print_json([statement.to_json() for statement in sql])
    else:
        click.echo(masked(script(sql)), nl=False)


@command(
    "announce",
    "tlnlp warehouse announce --set table=tickets --set announce.glue.database=db",
    Keys(ScoreSettings, only=("table", "warehouse", "catalog", "announce")),
)
def announce(call: Call) -> None:
    """Announce the tables to the catalogs under the key `announce`. Takes the settings of `tlnlp score`."""
    from tlnlp.warehouse.announce import announce_now, raise_failures

    given = call.settings(ScoreSettings, documents="-", score_date="2000-01-01")  # Required, not used.
    outcomes = announce_now(given.warehouse, given.catalog, given.table, given.announce)
    call.show_list([outcome.to_json() for outcome in outcomes], ["target", "table", "outcome"])
    raise_failures(outcomes)
