"""The command line of the files in ``jobs/``, which clusters run: settings in, one JSON document out."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

from tlnlp.cli.entry import guarded
from tlnlp.cli.options import CONFIG, DEBUG, SET, Result
from tlnlp.cli.settings_help import Keys, SettingsCommand
from tlnlp.config import Settings, load_settings
from tlnlp.runs.console import print_json

S = TypeVar("S", bound=Settings)


def job_command(description: str, kind: type[S], stage: Callable[[S], Result]) -> SettingsCommand:
    """Return the command of a job: it calls ``stage`` and prints its result as one JSON document.

    Args:
        description: the text above the options in ``--help``.
        kind: the settings class of the job.
        stage: the function that does the work.
    """

    def run(config: str | None, overrides: tuple[str, ...], debug: bool) -> None:
        def call() -> None:
            result = stage(load_settings(kind, config, overrides))
            print_json(result.to_json())

        if code := guarded(call, debug):
            sys.exit(code)

    names = {"help_option_names": ["-h", "--help"]}
    made = SettingsCommand(None, callback=run, help=description, keys=Keys(kind), context_settings=names)
    for option in (CONFIG, SET, DEBUG):
        option(made)
    return made


def run_job(
    description: str, kind: type[S], stage: Callable[[S], Result], arguments: Sequence[str] | None = None
) -> None:
    """Run the command of a job, and end the process with its exit code; None reads the arguments from ``sys.argv``."""
    job_command(description, kind, stage).main(arguments)
