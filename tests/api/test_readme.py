"""The README is short, its Python runs, and what it and the pages of docs/ and deploy/ name exists."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from pydantic.fields import FieldInfo

from tlnlp.cli.commands import cli
from tlnlp.config import (
    DEFAULT_WORKSPACE,
    DdlSettings,
    EvaluateSettings,
    ExploreSettings,
    FinetuneSettings,
    PromoteSettings,
    QuerySettings,
    QueueSettings,
    ReportSettings,
    ScoreSettings,
    Settings,
)

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "deploy").glob("*.md"))]
SETTINGS: dict[str, type[Settings]] = {
    "finetune": FinetuneSettings, "evaluate": EvaluateSettings, "promote": PromoteSettings, "score": ScoreSettings,
    "plan": ScoreSettings, "explain": ScoreSettings, "query": QuerySettings, "explore": ExploreSettings,
    "queue": QueueSettings, "report": ReportSettings,
    "warehouse ddl": DdlSettings, "warehouse announce": ScoreSettings,
}  # fmt: skip
# What a file in the repository or in an image begins with.
TOP = {"conf", "deploy", "docs", "jobs", "requirements", "tests", "tlnlp"}
# Files that a make target or deploy/render.py makes, and what each is made from.
MADE = {"dist/score-env.tar.gz": "Makefile", "build/deploy/": "deploy/"}


def blocks(page: Path, language: str) -> list[str]:
    """Return the fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def lines_of(page: Path) -> list[str]:
    """Return the lines of a page's shell blocks and inline code; a line that is continued is one line."""
    prose = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    code = [*blocks(page, "sh"), *re.findall(r"`([^`\n]+)`", prose)]
    return [line for part in code for line in part.replace("\\\n", " ").splitlines()]


def set_keys(words: str) -> list[str]:
    """Return the keys that the words of a command line set."""
    return re.findall(r"--set '?([a-z_.]+)=", words)


def is_group(field: FieldInfo) -> bool:
    """Return whether a field of settings is a group of keys."""
    return isinstance(field.annotation, type) and issubclass(field.annotation, Settings)


def has_key(kind: type[Settings], key: str) -> bool:
    """Return whether settings have a key; its dots lead into groups of keys."""
    first, _, rest = key.partition(".")
    field = kind.model_fields.get(first)
    if field is None or not rest:
        return field is not None
    return not is_group(field) or rest.startswith("conf.") or has_key(field.annotation, rest)  # type: ignore[arg-type]


def test_it_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 130


def test_its_python_runs(tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (code,) = blocks(ROOT / "README.md", "python")
    # A tiny encoder in place of the one that the labels would choose.
    tiny = f'model="places", encoder={str(tiny_encoder)!r}, max_length=32'
    assert code.count('model="places"') == 1
    exec(code.replace('model="places"', tiny), {})
    assert (tmp_path / DEFAULT_WORKSPACE / "registry" / "places" / "versions" / "1").is_dir()


def test_its_example_sentence_comes_out_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the smaller of the encoders that a newcomer has, as it was pretrained, which is quick."""
    monkeypatch.chdir(tmp_path)
    (code,) = blocks(ROOT / "README.md", "python")
    names: dict[str, Any] = {}
    shipped = 'model="places", encoder="all-minilm-l6-v2", training={"moves": "never"}'
    exec(code.replace('model="places"', shipped), names)
    (sentence,) = set(re.findall(r'classifier\.predict\w*\(\["([^"]+)"\]\)', code))
    assert names["classifier"].predict([sentence]).tolist() == ["positive"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_and_keys_that_it_shows_exist(page: Path) -> None:
    shown = lines_of(page)
    calls = [call for line in shown for call in re.findall(r"(?:^|&& |/bin/)tlnlp ([^#&]+)", line)]
    for command, *words in (call.split() for call in calls):
        assert command.startswith("-") or command in cli.commands, f"tlnlp {command}"
        name = f"{command} {words[0]}" if command == "warehouse" else command
        for key in set_keys(" ".join(words)):
            assert has_key(SETTINGS[name], key), f"tlnlp {name} --set {key}"
    for job, rest in re.findall(r"jobs/(\w+)\.py (.*)", "\n".join(shown)):
        assert all(has_key(SETTINGS[job], key) for key in set_keys(rest)), f"jobs/{job}.py {rest}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_dotted_keys_that_it_names_exist(page: Path) -> None:
    groups = {name for kind in SETTINGS.values() for name, field in kind.model_fields.items() if is_group(field)}
    assert groups >= {"cost", "announce", "training"}
    # Properties of Spark, and training.json, begin with the name of a group too.
    for key in re.findall(rf"`((?:{'|'.join(groups - {'spark'})})\.(?!json)[a-z_.]+)", page.read_text()):
        assert any(has_key(kind, key) for kind in SETTINGS.values()), key


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_files_that_it_names_exist(page: Path) -> None:
    for word in re.findall(r"[\w.@*/-]+", "\n".join(lines_of(page))):
        made = [word.replace(start, source, 1) for start, source in MADE.items() if word.startswith(start)]
        name = made[0] if made else word.removeprefix("/opt/tlnlp/")
        if "/" in name and name.split("/")[0] in TOP:
            assert list(ROOT.glob(name.rstrip("/."))), f"{page.name} names {word}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_make_targets_that_it_names_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert targets >= {"setup", "demo", "pack"}
    named = re.findall(r"(?:^|&& |\()make (?:[A-Z_]+=\S+ |-C \S+ )*([a-z-]+)", "\n".join(lines_of(page)), re.MULTILINE)
    assert set(named) <= targets


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_its_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_every_page_is_linked_from_it() -> None:
    readme = (ROOT / "README.md").read_text()
    assert all(str(page.relative_to(ROOT)) in readme for page in PAGES[1:])


def test_help_names_every_command() -> None:
    shown = CliRunner().invoke(cli, ["--help"]).output
    assert all(name in shown for name in cli.commands)
