"""Run the ``tlnlp`` command in this process, and Python programs in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kit
from click.testing import CliRunner

from tlnlp.cli.commands import cli

MODEL = "reviews"
ROOT = Path(__file__).parents[2]
PATIENCE_S = 240


@dataclass(frozen=True)
class CliResult:
    """The exit code, stdout and stderr of a command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Return the JSON document on stdout; fail if the command failed, or if stdout holds anything else."""
        assert self.code == 0, self.err
        return json.loads(self.out)


def tlnlp(*arguments: str, **settings: object) -> CliResult:
    """Run the command in this process; each of ``settings`` becomes ``--set key=value``."""
    sets = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    result = CliRunner().invoke(cli, [*arguments, *sets], prog_name="tlnlp")
    return CliResult(result.exit_code, result.stdout, result.stderr)


def process(*command: str, cwd: Path, extra: Mapping[str, str] | None = None) -> CliResult:
    """Run Python with these arguments in a process of its own, and return what it printed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYSPARK_")}
    done = subprocess.run(
        [sys.executable, *command],
        cwd=cwd,
        env=environment | dict(extra or {}),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    return CliResult(done.returncode, done.stdout, done.stderr)


def documents(count: int, seed: int = 1) -> list[dict[str, Any]]:
    """Return so many documents with an id, a text and an item."""
    return [
        {"id": f"d{number}", "text": text, "item": ("boots", "bread")[number % 2]}
        for number, text in enumerate(kit.texts(count, seed))
    ]
