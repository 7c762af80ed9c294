"""A real Airflow, in its own environment, runs two nights, then the first night again."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import kit
import pytest

from tlnlp.registry import Registry
from tlnlp.warehouse.query import run_query

pytestmark = pytest.mark.acceptance
ROOT = Path(__file__).parents[2]
AIRFLOW = ROOT / ".cache" / "airflow" / "bin" / "airflow"


class Airflow:
    """An Airflow with its own home folder; a call runs one of its commands and returns the output."""

    def __init__(self, home: Path, commands: dict[str, str]) -> None:
        """Make the home folder, with the DAGs as ``deploy/render.py`` fills them in for these commands."""
        home.mkdir()
        settings = (ROOT / "deploy" / "settings.env").read_text()
        own = {"RENDERED": str(home / "rendered"), "TLNLP_HOME": str(home.parent)}
        for name, line in commands.items():
            script = home / f"{name.lower()}.sh"
            script.write_text(f"#!/bin/sh\n{line}\n")
            script.chmod(0o755)
            own[name] = str(script)
        for name, value in own.items():
            settings = re.sub(rf"^{name}=.*$", f"{name}={value}", settings, flags=re.MULTILINE)
        (home / "settings.env").write_text(settings)
        render = [ROOT / "deploy" / "render.py"]
        subprocess.run(render, env=os.environ | {"TLNLP_SETTINGS": str(home / "settings.env")}, check=True)
        self.environment = os.environ | {
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(home / "rendered" / "airflow"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
        }
        self("db", "migrate")

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command that may fail."""
        command = [str(AIRFLOW), *arguments]
        return subprocess.run(
            command, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def __call__(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert done.returncode == 0, done.stdout[-4000:]
        return done.stdout


@pytest.fixture
def night(tmp_path: Path, tiny_bundle: Path) -> Airflow:
    registry = Registry(str(tmp_path / ".tlnlp/registry"))
    registry.publish("tiny", tiny_bundle)
    registry.set_champion("tiny", 1, expected=None, by="ada", reason="first")
    score = f"{sys.executable} -m tlnlp score --set documents=documents --set model=tiny --set score_date=$SCORE_DATE"
    commands = {"AIRFLOW_SCORE": score, "AIRFLOW_FINETUNE": "true", "AIRFLOW_PROMOTE": "exit 5"}
    return Airflow(tmp_path / "airflow", commands)


def write_documents(tmp_path: Path, name: str, start: int, count: int) -> None:
    rows = [{"id": f"d{start + n}", "text": text} for n, text in enumerate(kit.texts(count, seed=start))]
    kit.write_jsonl(tmp_path / "documents" / name, rows)


def by_day(tmp_path: Path) -> dict[str, int]:
    """Return the number of published rows of each day."""
    found = run_query(str(tmp_path / ".tlnlp/warehouse"), "select score_date::varchar, count(*) from scores group by 1")
    return {str(day): int(str(count)) for day, count in found.rows}


def test_two_nights_and_the_first_again(night: Airflow, tmp_path: Path) -> None:
    assert "No data found" in night("dags", "list-import-errors")
    # A run belongs to the interval that has just ended: the night of the 31st scores the 30th.
    write_documents(tmp_path, "a.jsonl", 0, 12)
    night("dags", "test", "tlnlp_score", "2026-01-31T02:00:00+00:00")
    assert by_day(tmp_path) == {"2026-01-30": 12}
    write_documents(tmp_path, "b.jsonl", 100, 5)
    night("dags", "test", "tlnlp_score", "2026-02-01T02:00:00+00:00")
    assert by_day(tmp_path) == {"2026-01-30": 12, "2026-01-31": 17}
    night("dags", "test", "tlnlp_score", "2026-01-31T02:00:00+00:00")
    assert by_day(tmp_path) == {"2026-01-30": 17, "2026-01-31": 17}
    print(json.dumps(by_day(tmp_path)))


def test_a_refused_promotion_is_skipped_and_not_failed(night: Airflow) -> None:
    output = night("dags", "test", "tlnlp_learn", "2026-01-31T02:00:00+00:00")
    assert "Skipping" in output or "skipped" in output


@pytest.mark.parametrize(("code", "retried"), [(10, False), (7, True)])
def test_a_retry_follows_only_a_failure_that_it_may_mend(tmp_path: Path, code: int, retried: bool) -> None:
    airflow = Airflow(tmp_path / "airflow", {"AIRFLOW_SCORE": f"exit {code}"})
    done = airflow.run("tasks", "test", "tlnlp_score", "score", "2026-01-31T02:00:00+00:00")
    assert f"exit code {code}" in done.stdout
    assert ("AirflowFailException" in done.stdout) != retried
