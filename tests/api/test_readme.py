"""The README is short, its Python runs, and every command and key that it and the pages of docs/ show exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from tlnlp.cli.commands import cli
from tlnlp.config import (
    DEFAULT_WORKSPACE,
    EvaluateSettings,
    FinetuneSettings,
    PromoteSettings,
    QuerySettings,
    ScoreSettings,
)

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SETTINGS = {
    "finetune": FinetuneSettings, "evaluate": EvaluateSettings, "promote": PromoteSettings, "score": ScoreSettings,
    "plan": ScoreSettings, "query": QuerySettings,
}  # fmt: skip


def blocks(page: Path, language: str) -> list[str]:
    """Return the fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def test_it_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 130


def test_its_python_runs(tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (code,) = blocks(ROOT / "README.md", "python")
    # A tiny encoder in place of the one that the labels would choose.
    tiny = f'model="reviews", encoder={str(tiny_encoder)!r}, max_length=32'
    assert code.count('model="reviews"') == 1
    exec(code.replace('model="reviews"', tiny), {})
    assert (tmp_path / DEFAULT_WORKSPACE / "registry" / "reviews" / "versions" / "1").is_dir()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_and_keys_that_it_shows_exist(page: Path) -> None:
    text = page.read_text()
    code = [
        *blocks(page, "sh"),
        *re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)),
    ]
    shown = [line for part in code for line in part.replace("\\\n", " ").splitlines()]
    calls = [call for line in shown for call in re.findall(r"(?:^|&& )tlnlp ([^#&]+)", line)]
    for command, *words in (call.split() for call in calls):
        assert command.startswith("-") or command in cli.commands, f"tlnlp {command}"
        for key in re.findall(r"--set '?([a-z_.]+)=", " ".join(words)):
            assert key.split(".")[0] in SETTINGS[command].model_fields, f"tlnlp {command} --set {key}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_its_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_every_page_is_linked_from_it() -> None:
    readme = (ROOT / "README.md").read_text()
    assert all(f"docs/{page.name}" in readme for page in PAGES[1:])


def test_help_names_every_command() -> None:
    shown = CliRunner().invoke(cli, ["--help"]).output
    assert all(name in shown for name in cli.commands)
