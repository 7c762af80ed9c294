"""The library logs its progress under one logger and prints nothing; a command shows the lines on stderr, once."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest

from tlnlp.cli.entry import guarded
from tlnlp.runs import progress
from tlnlp.runs.progress import meter, say, shown_on_stderr

SAYING = """
import logging, sys
from tlnlp.runs.progress import meter, say
{first}
say("labels: 3 of 4 (50%)")
with meter("scoring", 2) as shown:
    shown.update(2, "done")
"""


def stderr_of(first: str) -> list[str]:
    """Return what a program prints that says something, after these lines."""
    command = [sys.executable, "-c", SAYING.format(first=first)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout == ""
    return done.stderr.splitlines()


def test_a_program_hears_nothing_unless_it_configures_logging() -> None:
    assert stderr_of("") == []
    assert stderr_of("logging.basicConfig()") == []
    # The line of the guide, for a notebook.
    line = 'logging.basicConfig(format="%(message)s"); logging.getLogger("tlnlp").setLevel("INFO")'
    assert stderr_of(line) == ["labels: 3 of 4 (50%)", "scoring: 2/2 after 0 s, done"]
    # A terminal gets no bar either, which would be printed past the logger.
    assert stderr_of("sys.stderr.isatty = lambda: True") == []


def test_a_command_shows_plain_lines_once(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    with monkeypatch.context() as alone:
        # The tests show progress themselves: without that, this is a process that only a command started.
        alone.setattr(progress.LIBRARY, "handlers", [logging.NullHandler()])
        root = logging.StreamHandler()
        logging.getLogger().addHandler(root)
        try:
            assert guarded(lambda: say("registered tickets@1"), debug=False) == 0
            with shown_on_stderr(), shown_on_stderr():
                say("twice in a block")
        finally:
            logging.getLogger().removeHandler(root)
        assert capfd.readouterr().err == "registered tickets@1\ntwice in a block\n"
        assert [type(handler) for handler in progress.LIBRARY.handlers] == [logging.NullHandler]
        say("after the command")
        assert capfd.readouterr().err == ""


def test_a_meter_shows_the_last_line(capfd: pytest.CaptureFixture[str]) -> None:
    with meter("scoring", 3) as shown:
        for done in (1, 2, 3):
            shown.update(done, f"{done} files")
    assert capfd.readouterr().err == "scoring: 3/3 after 0 s, 3 files\n"
