"""The completion of a shell: commands, options, settings keys after ``--set``, and names of models."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_kit import MODEL, ROOT, process
from click.testing import CliRunner

from tlnlp.cli.commands import cli


def offered(*words: str) -> list[str]:
    """Return what bash is offered for the last word."""
    line = {
        "_TLNLP_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(("tlnlp", *words)),
        "COMP_CWORD": str(len(words)),
    }
    result = CliRunner().invoke(cli, [], prog_name="tlnlp", env=line)
    assert (result.exit_code, result.stderr) == (0, "")
    return [line.partition(",")[2] for line in result.stdout.splitlines() if line]


def test_commands_and_options_are_offered() -> None:
    assert offered("r") == ["report", "rollback", "runs"]
    assert offered("warehouse", "d") == ["ddl"]
    assert offered("score", "--w") == ["--workspace"]
    assert offered("warehouse", "ddl", "--dialect", "du") == ["duckdb"]


def test_the_keys_of_the_command_are_offered_after_set() -> None:
    assert offered("score", "--set", "score_") == ["score_date"]
    assert offered("finetune", "--json", "--set", "ray.w") == ["ray.workers"]
    assert offered("models", "--set", "reg") == ["registry"]
    assert offered("models", "--set", "ray.w") == offered("demo", "--set", "r") == []


@pytest.mark.parametrize("command", ["report", "evaluate", "promote", "rollback"])
def test_the_models_of_the_registry_are_offered(registry: Path, tmp_path: Path, command: str) -> None:
    given = ("--set", f"registry={registry}")
    assert offered(command, *given, MODEL[:3]) == [MODEL]
    assert offered(command, *given, "x") == []
    assert offered(command, "--workspace", str(registry.parent), "") == [MODEL]
    assert offered(command, "--workspace", str(tmp_path / "none"), "") == []
    assert not (tmp_path / "none").exists()
    assert offered(command, "--set", "registry=ftp://nowhere", "") == []


def test_the_line_of_the_guide_prints_a_script() -> None:
    guide = (ROOT / "docs" / "guide.md").read_text()
    for shell in ("bash", "zsh", "fish"):
        assert f"_TLNLP_COMPLETE={shell}_source tlnlp" in guide
        result = process("-m", "tlnlp", cwd=ROOT, extra={"_TLNLP_COMPLETE": f"{shell}_source"})
        # The script of bash asks bash for its version, which a machine without bash does not have.
        assert (result.code, f"_TLNLP_COMPLETE={shell}_complete" in result.out) == (0, True), result.err
