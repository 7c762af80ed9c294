"""``--help`` shows an example and every settings key of a command, in 80 columns, without loading an engine."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
from cli_kit import ROOT, tlnlp

from tlnlp.cli.commands import cli
from tlnlp.cli.settings_help import HEADING, SettingsCommand
from tlnlp.cli.settings_keys import describe_settings
from tlnlp.config import (
    DdlSettings,
    EvaluateSettings,
    ExploreSettings,
    FinetuneSettings,
    MaintainSettings,
    PromoteSettings,
    QuerySettings,
    QueueSettings,
    RegistrySettings,
    ReportSettings,
    RunsSettings,
    ScoreSettings,
    Settings,
)

CSV = [f"csv.{key}" for key in ("header", "delimiter", "quote", "escape", "multiline")]
KINDS: dict[str, type[Settings] | None] = {
    "demo": None,
    "encoders": None,
    "encoders fetch": None,
    "evaluate": EvaluateSettings,
    "explain": ScoreSettings,
    "explore": ExploreSettings,
    "export": RegistrySettings,
    "finetune": FinetuneSettings,
    "labels check": FinetuneSettings,
    "maintain": MaintainSettings,
    "models": RegistrySettings,
    "plan": ScoreSettings,
    "promote": PromoteSettings,
    "query": QuerySettings,
    "queue": QueueSettings,
    "report": ReportSettings,
    "rollback": RegistrySettings,
    "runs": RunsSettings,
    "score": ScoreSettings,
    "warehouse announce": ScoreSettings,
    "warehouse ddl": DdlSettings,
}
# Of these commands, which take the file of another command, only some keys have an effect.
SOME = {
    "explain": [
        *("documents", "id_column", "text_column", "format", "encoding", *CSV, "registry", "optimise", "engine"),
    ],
    "labels check": ["text_column", "label_column", "classes", "min_per_class", "max_chars", "format", *CSV],
    "warehouse announce": ["warehouse", "catalog", "table", "announce.glue.database", "announce.timeout_s"],
}


def commands(group: click.Group, before: str = "") -> Iterator[tuple[str, click.Command]]:
    """Yield each command that a user can call, with its full name."""
    for name, command in group.commands.items():
        if isinstance(command, SettingsCommand):
            yield before + name, command
        if isinstance(command, click.Group):
            yield from commands(command, f"{before}{name} ")


COMMANDS = dict(commands(cli))


def keys_of(kind: type[Settings], prefix: str = "") -> Iterator[str]:
    """Yield the dotted name of each key."""
    for name, field in kind.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, Settings):
            yield from keys_of(inner, f"{prefix}{name}.")
        else:
            yield prefix + name


def shown_keys(text: str) -> list[str]:
    """Return the keys that a help text shows."""
    return re.findall(r"^  ([a-z_]+(?:\.[a-z_]+)*)(?:  |$)", text.partition(f"{HEADING}:\n")[2], re.MULTILINE)


def test_every_command_is_known() -> None:
    assert COMMANDS.keys() == KINDS.keys()


@pytest.mark.parametrize("name", KINDS)
def test_help_shows_every_key_and_an_example(name: str) -> None:
    text, kind = tlnlp(*name.split(), "--help").out, KINDS[name]
    assert (HEADING in text) == (kind is not None)
    found = shown_keys(text)
    assert len(found) == len(set(found))
    if name in SOME:
        assert set(SOME[name]) <= set(found) < set(keys_of(kind or Settings))
    elif kind is not None:
        assert set(found) == set(keys_of(kind))
    # The example is a line of its own, is valid, and fits.
    (example,) = re.findall(r"^Example:\n  tlnlp (.+)$", text, re.MULTILINE)
    words = shlex.split(example)[len(name.split()) :]
    given = COMMANDS[name].make_context(name, words).params
    assert {one.split("=")[0].split(".")[0] for one in given["overrides"]} <= (kind.model_fields if kind else {}).keys()
    assert max(map(len, text.splitlines())) <= 80


def test_what_is_set_most_comes_first_and_groups_last() -> None:
    found = shown_keys(tlnlp("finetune", "--help").out)
    assert found[:3] == ["labels", "model", "unlabelled"]
    dotted = ["." in key for key in found]
    assert dotted == sorted(dotted)


def test_a_key_is_shown_with_its_meaning_and_default() -> None:
    text = " ".join(tlnlp("score", "--help").out.split())
    assert "arrow_batch_rows Rows in one Arrow batch between Spark and Python. [default: 2048]" in text
    assert "mode full: the day holds the whole input." in text
    assert "[full | incremental; default: full]" in text
    assert "The day that the run publishes, as YYYY-MM-DD. A published day of the same date is replaced." in text
    assert "documents Path or URI of Parquet, JSON Lines or CSV" in text
    assert "[required]" in text
    assert "cost: Price of the machines, and budget of the run:" in text
    assert "model The argument MODEL gives it." in " ".join(tlnlp("promote", "--help").out.split())


@pytest.mark.parametrize("kind", dict.fromkeys(kind for kind in KINDS.values() if kind), ids=lambda kind: kind.__name__)
def test_every_key_and_group_has_a_description(kind: type[Settings]) -> None:
    top, *groups = describe_settings(kind)
    assert [key.name for one in (top, *groups) for key in one.keys if not key.text] == []
    assert [group.name for group in groups if not group.text] == []


def test_the_help_of_a_job_shows_the_keys_too() -> None:
    for job, kind in (("finetune", FinetuneSettings), ("promote", PromoteSettings), ("score", ScoreSettings)):
        command = [sys.executable, str(ROOT / "jobs" / f"{job}.py"), "--help"]
        text = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
        assert set(shown_keys(text)) == set(keys_of(kind))


def test_help_loads_no_heavy_package() -> None:
    code = (
        "import sys; from tlnlp.cli.commands import cli\n"
        "cli(['finetune', '--help'], standalone_mode=False); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert not {"torch", "ray", "pyspark", "transformers", "sklearn", "duckdb", "pyiceberg", "numpy"} & loaded
