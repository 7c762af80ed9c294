"""How every process of tlnlp starts and ends: quiet environment, one call, an error to its exit code."""

from __future__ import annotations

import argparse
import json
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from tlnlp import environment
from tlnlp.config import Settings, load_settings
from tlnlp.errors import TlnlpError

INTERRUPTED = 130


class Result(Protocol):
    """What a stage returns: it can say itself in JSON."""

    def to_json(self) -> dict[str, Any]: ...


S = TypeVar("S", bound=Settings)


def guarded(call: Callable[[], None], debug: bool) -> int:
    """Make the call; returns the exit code. A traceback is shown with ``debug`` alone."""
    environment.apply_defaults()
    try:
        call()
    except TlnlpError as error:
        _tell(str(error), debug)
        return error.exit_code
    except KeyboardInterrupt:
        _tell("interrupted", debug)
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output went away (`| head`); there is nobody left to tell.
        sys.stderr.close()
        return 0
    except Exception as error:
        # The message of an unforeseen exception may quote data, so only its class is shown.
        _tell(f"unexpected {type(error).__name__}; run again with --debug for the traceback", debug)
        return TlnlpError.exit_code
    return 0


def _tell(message: str, debug: bool) -> None:
    if debug:
        traceback.print_exc()
    print(f"tlnlp: {message}", file=sys.stderr, flush=True)


def job_parser(description: str) -> argparse.ArgumentParser:
    """The command line that every file in ``jobs/`` takes."""
    parser = argparse.ArgumentParser(description=description, allow_abbrev=False)
    parser.add_argument("--config", metavar="FILE", help="a complete YAML file, as in conf/")
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        dest="overrides",
        help="override one key (repeatable)",
    )
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def run_job(
    description: str, kind: type[S], stage: Callable[[S], Result], arguments: Sequence[str] | None = None
) -> int:
    """Parse, make one call, print its result as one JSON document; returns the exit code."""
    parsed = job_parser(description).parse_args(arguments)

    def call() -> None:
        result = stage(load_settings(kind, parsed.config, parsed.overrides))
        print(json.dumps(result.to_json(), ensure_ascii=False))

    return guarded(call, parsed.debug)
