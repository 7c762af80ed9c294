"""``tlnlp warehouse``: statements for other warehouses, and announcing a night to their catalogs."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from uuid import uuid4

import pytest
import yaml
from cli_kit import MODEL, ROOT, CliResult, documents, tlnlp
from pyspark.sql import SparkSession

from tlnlp.cli.commands import cli
from tlnlp.config import AnnounceSettings, DdlSettings, ScoreSettings, load_settings
from tlnlp.storage import Storage
from tlnlp.warehouse.announce import check_targets, names_of
from tlnlp.warehouse.sql_dialects import DIALECTS, check_store, parse_into


def test_ddl_prints_sql_or_one_json_document(scored: tuple[Path, CliResult]) -> None:
    warehouse = scored[0] / "warehouse"
    result = tlnlp("warehouse", "ddl", "--dialect", "spark", warehouse=warehouse, into="lake.reviews")
    assert result.code == 0, result.err
    lines = result.out.splitlines()
    assert lines[:2] == ["-- prepare", "CREATE NAMESPACE IF NOT EXISTS `lake`.`reviews`;"]
    assert any("`item`" in line for line in lines)
    assert "after each later night run the statements of --refresh" in result.err
    listed = tlnlp("warehouse", "ddl", "--dialect", "spark", "--json", warehouse=warehouse, into="lake.reviews").json
    assert [f"{one['sql']};" for one in listed] == [line for line in lines if not line.startswith("-- ")]
    assert {(one["dialect"], one["purpose"]) for one in listed} == {
        ("spark", "prepare"), ("spark", "table"), ("spark", "check"),
    }  # fmt: skip
    later = tlnlp("warehouse", "ddl", "--dialect", "spark", "--refresh", "--json", warehouse=warehouse).json
    assert [one["purpose"] for one in later] == ["table"] * 4


def test_a_mistake_of_ddl_has_its_exit_code_and_message(scored: tuple[Path, CliResult], tmp_path: Path) -> None:
    warehouse = scored[0] / "warehouse"
    cases = [
        (tlnlp("warehouse", "ddl", "--dialect", "athena", warehouse=warehouse), 2, "on a local disk, and athena reads"),
        (tlnlp("warehouse", "ddl", "--dialect", "bigquery", warehouse=warehouse), 2, "bigquery reads gs://"),
        (tlnlp("warehouse", "ddl", "--dialect", "oracle", warehouse=warehouse), 2, "oracle"),
        (tlnlp("warehouse", "ddl", "--dialect", "spark", warehouse=warehouse, tabel="x"), 2, "did you mean 'table'?"),
        (tlnlp("warehouse", "ddl", "--dialect", "spark", warehouse=warehouse, table="other"), 6, "nothing has been"),
        (tlnlp("warehouse", "ddl", "--dialect", "spark", warehouse=tmp_path / "none"), 6, "nothing has been published"),
    ]
    for result, code, says in cases:
        assert (result.code, result.out) == (code, ""), result.err
        assert says in result.err
        assert "Traceback" not in result.err
    assert not (tmp_path / "none").exists()


def test_announce_refuses_settings_that_cannot_work(scored: tuple[Path, CliResult]) -> None:
    warehouse = scored[0] / "warehouse"
    result = tlnlp("warehouse", "announce", warehouse=warehouse)
    assert (result.code, "no catalog to notify" in result.err) == (2, True)
    result = tlnlp("warehouse", "announce", warehouse=warehouse, **{"announce.glue.database": "analytics"})
    assert (result.code, "on a local disk" in result.err) == (2, True)
    result = tlnlp("warehouse", "announce", warehouse=warehouse, **{"announce.glue.databse": "analytics"})
    assert (result.code, "did you mean 'announce.glue.database'?" in result.err) == (2, True)


def test_announce_takes_the_config_of_the_night_and_fails_with_a_code(
    spark: SparkSession, registry: Path, s3_bucket: str, tmp_path: Path
) -> None:
    warehouse = f"{s3_bucket}/cli-announce/{uuid4().hex[:8]}"
    client = tmp_path / "client.sh"
    client.write_text(f'#!/bin/sh\ncat >> "{tmp_path}/statements"\ntest ! -e "{tmp_path}/broken"\n')
    client.chmod(0o755)
    (tmp_path / "broken").touch()
    lines = "".join(json.dumps(row) + "\n" for row in documents(2))
    Storage(warehouse).write("in/documents.jsonl", lines.encode())
    config = tmp_path / "score.yaml"
    config.write_text(
        f"documents: {warehouse}/in\nregistry: {registry}\nwarehouse: {warehouse}\nmodel: {MODEL}\n"
        f"score_date: 2026-11-23\nannounce: {{snowflake: {{command: ['{client}'], into: lake.reviews}}}}\n"
    )
    night = tlnlp("score", "--config", str(config), "--json")
    assert night.json["rows_scored"] == 2
    assert "warning: the day is published, but snowflake was not notified" in night.err
    again = tlnlp("warehouse", "announce", "--config", str(config), "--json")
    assert again.code == 6
    assert [one["outcome"] for one in json.loads(again.out)] == ["failed", "failed"]
    assert "client.sh ended with code 1" in again.err
    (tmp_path / "broken").unlink()
    mended = tlnlp("warehouse", "announce", "--config", str(config), "--json")
    assert [(one["table"], one["outcome"]) for one in mended.json] == [
        ("scores", "notified"),
        ("quarantine", "notified"),
    ]
    statements = (tmp_path / "statements").read_text().splitlines()
    assert len(statements) == 6
    assert statements[-2].startswith("ALTER ICEBERG TABLE lake.reviews.scores REFRESH 'cli-announce/")


def test_a_command_can_be_given_on_the_command_line() -> None:
    given = ["documents=x", "score_date=2026-11-23", "announce.snowflake.command=[snow, sql, --stdin]"]
    assert load_settings(ScoreSettings, None, given).announce.snowflake.command == ("snow", "sql", "--stdin")


GUIDE = (ROOT / "deploy" / "warehouse.md").read_text(encoding="utf-8")
LINES = [line for line in GUIDE.splitlines() if line.startswith("tlnlp ")]


@pytest.mark.parametrize("line", LINES)
def test_every_command_of_the_guide_is_valid(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command's own parser and loader accept the line, and its names fit the dialect and the store."""
    monkeypatch.chdir(ROOT)
    store = "gs" if "bigquery" in line else "s3"
    line = line.replace("$WAREHOUSE", f"{store}://example-bucket/warehouse").replace("$GOOGLE_CLOUD_PROJECT", "project")
    assert "$" not in line
    _, group, name, *rest = shlex.split(line)
    subcommand = cli.commands[group].commands[name]  # type: ignore[attr-defined]
    given = subcommand.make_context(name, rest).params
    if name == "ddl":
        settings = load_settings(DdlSettings, given["config"], given["overrides"])
        check_store(settings.warehouse, given["dialect"])
        assert parse_into(given["dialect"], settings.into)
    else:
        # The command needs neither of these two.
        night = load_settings(
            ScoreSettings, given["config"], given["overrides"], given={"documents": "-", "score_date": "2000-01-01"}
        )
        check_targets(night.warehouse, night.announce)
        assert names_of(night.announce)


def test_the_config_of_the_guide_is_valid() -> None:
    block = yaml.safe_load(GUIDE.partition("```yaml\n")[2].partition("```")[0])
    for name, values in block["announce"].items():
        targets = AnnounceSettings(**{name: values})
        assert names_of(targets) == [name]
        check_targets("gs://example-bucket/w" if name == "bigquery" else "s3://example-bucket/w", targets)
    assert {line.split("--dialect ")[1].split()[0] for line in LINES if "--dialect" in line} == set(DIALECTS)
