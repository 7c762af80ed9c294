"""In an empty workspace each command says what to do first, and a command that is refused leaves no folder."""

from __future__ import annotations

from pathlib import Path

import kit
import pytest
from cli_kit import tlnlp


@pytest.fixture(autouse=True)
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, which holds nothing."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def test_lists_of_nothing_say_what_makes_something(empty: Path) -> None:
    for command, says in (("models", "make one with `tlnlp finetune`"), ("runs", "`tlnlp score` make them")):
        result = tlnlp(command)
        assert (result.code, result.out) == (0, "")
        assert says in result.err
        assert tlnlp(command, "--json").json == []
    assert list(empty.iterdir()) == []


def test_a_query_says_what_comes_first(empty: Path) -> None:
    result = tlnlp("query", "select 1")
    assert (result.code, result.out) == (6, "")
    assert "publish scores first: `tlnlp score` does" in result.err
    assert list(empty.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["promote", "tickets"],
        ["rollback", "tickets"],
        ["report", "tickets"],
        ["evaluate", "tickets", "--set", "labels=none.csv"],
        ["score", "--set", "documents={documents}", "--set", "model=tickets"],
        ["plan", "--set", "documents={documents}", "--set", "model=tickets"],
        ["warehouse", "ddl", "--dialect", "spark"],
        ["warehouse", "announce", "--set", "announce.glue.database=d"],
    ],
)
def test_a_command_that_is_refused_makes_no_folder(empty: Path, tmp_path: Path, arguments: list[str]) -> None:
    documents = kit.write_jsonl(tmp_path / "documents.jsonl", [{"id": "1", "text": "warm bread"}])
    result = tlnlp(*[argument.format(documents=documents) for argument in arguments])
    assert result.code in (2, 6), result.err
    assert list(empty.iterdir()) == []
