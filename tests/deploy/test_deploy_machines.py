"""Units, shell scripts and image recipes pass the checker of their kind."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import deploy_kit as kit
import pytest

from tlnlp.cli.commands import cli
from tlnlp.config import ScoreSettings, load_settings
from tlnlp.config.shared import CostSettings
from tlnlp.runs.cost import price_of

BIN = Path(sys.executable).parent
UNITS = sorted(name for name in kit.FILES if name.startswith("systemd/"))
SCRIPTS = sorted(path for path in kit.DEPLOY.rglob("*.sh") if path.name != "load-settings.sh")  # Bash sources that one.
RECIPES = sorted((kit.DEPLOY / "images").glob("*.Dockerfile"))


def run(*command: object) -> str:
    """Return what a checker prints; nothing if it finds no fault."""
    done = subprocess.run([str(word) for word in command], cwd=kit.ROOT, capture_output=True, text=True, timeout=120)
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    return output


@pytest.mark.parametrize("script", SCRIPTS, ids=[path.name for path in SCRIPTS])
def test_a_script_is_sound(script: Path) -> None:
    assert os.access(script, os.X_OK), "not executable"
    assert "set -euo pipefail" in script.read_text()
    assert run(BIN / "shellcheck", "--external-sources", script) == ""


@pytest.mark.parametrize("recipe", RECIPES, ids=[path.name for path in RECIPES])
def test_a_recipe_is_sound(recipe: Path) -> None:
    assert run(BIN / "hadolint", recipe) == ""
    text = recipe.read_text()
    assert re.findall(r"^USER (\d+):\d+$", text, re.MULTILINE)[-1:] not in ([], ["0"])
    for base in re.findall(r"^FROM (\S+)", text, re.MULTILINE):
        assert re.search(r":\d+\.\d+\.\d+-", base), f"{base} is not pinned"
    sent = recipe.with_name(f"{recipe.name}.dockerignore").read_text().split()
    for sources in re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE):
        for source in sources.split()[:-1]:
            assert (kit.ROOT / source).exists(), f"{source}: COPY of what is not there"
            assert any(source == own or source.startswith(f"{own}/") for own in (word[1:] for word in sent)), source


def test_the_image_and_the_script_fetch_jars_of_one_spark() -> None:
    recipe, script = (
        (kit.DEPLOY / "images/score.Dockerfile").read_text(),
        (kit.DEPLOY / "spark/fetch-s3-jars.sh").read_text(),
    )
    (spark,) = re.findall(r"apache/spark:([\d.]+)-", recipe)
    assert f"spark-hadoop-cloud_2.13:{spark} " in script
    assert {
        kit.spark_application(f"k8s/score-{kind}sparkapplication.yaml")["sparkVersion"] for kind in ("", "scheduled")
    } == {spark}


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """Copies of the units that name this environment, since systemd checks that the programs of a unit exist."""
    for name in UNITS:
        (tmp_path / Path(name).name).write_text(kit.FILES[name].replace("/opt/tlnlp/.venv/bin", str(BIN)))
    return tmp_path


@pytest.mark.parametrize("name", [Path(name).name for name in UNITS])
def test_a_unit_is_sound(name: str, units: Path) -> None:
    analyze = Path("/usr/bin/systemd-analyze")
    kit.needs(analyze.exists(), "no systemd-analyze: the units were not checked (Debian's package systemd has it)")
    assert run(analyze, "verify", "--man=no", units / name) == ""


def test_a_misspelt_unit_is_reported(units: Path) -> None:
    analyze = Path("/usr/bin/systemd-analyze")
    kit.needs(analyze.exists(), "no systemd-analyze: the units were not checked (Debian's package systemd has it)")
    unit = units / "tlnlp-score@.service"
    unit.write_text(unit.read_text().replace("Nice=", "Nicer="))
    assert "Nicer" in run(analyze, "verify", "--man=no", unit)


def _value(unit: str, key: str) -> str:
    text = kit.FILES[f"systemd/{unit}"].replace("\\\n", " ")
    (value,) = re.findall(rf"^{key}=(.*)$", text, re.MULTILINE)
    return str(value)


def test_the_unit_starts_a_valid_command_of_tlnlp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing in the command depends on the working folder, which holds neither registry nor prices."""
    monkeypatch.chdir(tmp_path)
    argv = shlex.split(_value("tlnlp-score@.service", "ExecStart").replace("%i", "2026-01-31"))
    assert argv[0] == "/usr/bin/flock"
    start = argv.index("/opt/tlnlp/.venv/bin/tlnlp")
    assert argv[start + 1] == "score"
    parsed = cli.commands["score"].make_context("score", argv[start + 2 :]).params
    settings = load_settings(ScoreSettings, kit.config_file(parsed["config"]), parsed["overrides"])
    assert str(settings.score_date) == "2026-01-31"
    for key in ("documents", "registry", "warehouse"):
        assert getattr(settings, key) == kit.SETTINGS[key.upper()]
    assert settings.model == kit.SETTINGS["MODEL"]
    assert str(tmp_path) not in settings.model_dump_json()
    price = price_of(CostSettings(instance="m7i.large", prices=settings.cost.prices))
    assert price is not None
    assert price.usd_per_hour > 0


def test_data_on_this_machine_is_where_the_unit_may_write() -> None:
    local = kit.render.rendered(kit.SETTINGS | {"WAREHOUSE": "/var/lib/tlnlp/warehouse"})[
        "systemd/tlnlp-score@.service"
    ]
    assert "--set warehouse=/var/lib/tlnlp/warehouse" in local
    assert "ProtectSystem=strict" in local
    assert _value("tlnlp-score@.service", "StateDirectory") == "tlnlp"  # /var/lib/tlnlp
    assert "/var/lib/tlnlp on one machine" in (kit.DEPLOY / "settings.env").read_text()


def test_the_starter_names_the_day(tmp_path: Path) -> None:
    shell, flag, line = shlex.split(_value("tlnlp-score.service", "ExecStart"))
    systemctl = tmp_path / "systemctl"
    systemctl.write_text('#!/bin/sh\necho "$@"\n')
    systemctl.chmod(0o755)
    # systemd writes $ and % twice.
    command = [shell, flag, line.replace("$$", "$").replace("%%", "%")]
    done = subprocess.run(
        command, env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, capture_output=True, text=True, check=True
    )
    assert re.fullmatch(r"start --no-block tlnlp-score@\d{4}-\d{2}-\d{2}\.service\n", done.stdout)


def test_a_try_has_a_deadline() -> None:
    assert _value("tlnlp-score@.service", "TimeoutStartSec") == "6h"
