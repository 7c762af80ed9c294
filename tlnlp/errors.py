"""Define the errors that users see; the exit code of a command depends on the class.

    TlnlpError                      1   a defect of tlnlp itself (also any exception not listed here)
    ├── UsageError                  2   command line or configuration: unknown key, bad value, wrong combination
    │   └── ModelNotFoundError      2   the registry has no such model or version, or no champion of it
    ├── InputDataError              3   labels or documents cannot be read, or an encoder is not usable
    │   └── LabelFaultsError        3   the labelled set has faults; the message lists them
    ├── BundleError                 4   a model bundle is incomplete, altered or of another format
    ├── PromotionRefusedError       5   the gate did not promote the new version
    ├── StorageError                6   a store cannot be reached, read or written
    │   └── NotFoundError           6   nothing is stored under that name
    ├── EngineError                 7   Spark or Ray failed, or a GPU
    ├── NothingToPublishError       8   nothing was published: empty input, or too many quarantined documents
    ├── PublishConflictError        9   another publisher was first; or the table belongs to another source or model
    ├── BudgetError                10   the run would cost, or already costs, more than its budget
    ├── DriftError                 11   a night was not published, since its documents or scores have changed too much
    └── DayHeldError               75   another run is scoring the same day of the same table

A scheduler may retry the codes of errors that another try may mend. ``NO_RETRY_EXIT_CODES`` holds the other codes.

A message states what is wrong, where, and the next safe step. It never contains document text or credentials:
``masked`` hides a password or token that an address in it holds.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import ClassVar

_SECRET_NAME = re.compile(
    r"secret|passw|pwd$|credential|(access|api|private|account|sas).?key|^sig$|signature|authorization"
    r"|token(?!i[sz]|s$|s_)",  # "tokenizer" and "max_tokens" are no secrets.
    re.IGNORECASE,
)
# The user and password of an address. In front of a colon with a port, the rest of the address is no password.
_USER = re.compile(r"://(?:[^/\s'\"@]*@(?:[^/\s'\"@]*@)*|[^/:\s'\"@]*:(?!\d+/)[^\s'\"@]*@)")
# name=value in a query, a connection string or a command line; 'name': 'value' in a listing; a header.
# A name is read from its beginning and never again, so that the time grows with the text and not with its square.
_PAIR = re.compile(r"""(?<![\w.$-])([\w.$-]++)(=)('[^']*'|"[^"]*"|[^&;,\s'"\\]+)""")
_ITEM = re.compile(r"""(?<![\w.$-])([\w.$-]++)(['"]\s?:\s?)('[^']*'|"[^"]*")""")
_HEADER = re.compile(r"(authorization)(:\s?)((?:bearer |basic )?[^\s'\"]+)", re.IGNORECASE)
_HIDDEN = "***"


def counted(number: int, singular: str, plural: str = "") -> str:
    """Return a number with its noun, as all messages write it: ``1 row``, ``2,000 rows``, ``2 classes``.

    Args:
        plural: the plural of the noun where it is not the singular with an ``s``.
    """
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def listed(items: Sequence[object], most: int = 8) -> str:
    """Return the first items for a message, and the number of the others: ``a, b and 1,200 more``.

    Args:
        most: how many items are named at most.
    """
    others = len(items) - most
    return ", ".join(str(item) for item in items[:most]) + (f" and {others:,} more" if others > 0 else "")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the known name that is most like a name, as messages ask for it; empty where none is like it."""
    by_lower = {other.lower(): other for other in known}
    similar = difflib.get_close_matches(name.lower(), by_lower, n=1)
    return f"; did you mean {by_lower[similar[0]]!r}?" if similar else ""


def is_secret(name: str) -> bool:
    """Return True for the name of a setting, parameter or header that holds a secret."""
    return _SECRET_NAME.search(name) is not None


def masked(text: str) -> str:
    """Return the text with ``***`` for each secret in it.

    Secrets are the user and password of an address (``postgresql://u:p@host``), and the values of parameters and
    settings whose name says so (``sig=``, ``X-Amz-Signature=``, ``password=``). All that is shown or stored beside
    results passes through here; the rows of a query, which are data, do not.
    """
    text = _USER.sub(f"://{_HIDDEN}@", text)
    for pattern in (_PAIR, _ITEM, _HEADER):
        text = pattern.sub(_masked_pair, text)
    return text


def _masked_pair(found: re.Match[str]) -> str:
    return f"{found[1]}{found[2]}{_HIDDEN}" if is_secret(found[1]) else found[0]


class TlnlpError(Exception):
    """Report a defect of tlnlp itself, and be the base class of all errors; users read ``str(error)``."""

    exit_code: ClassVar[int] = 1
    retryable: ClassVar[bool] = True
    """Whether the same command, run again, may succeed. Stated by each class that has an exit code of its own."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*(masked(one) if isinstance(one, str) else one for one in arguments))


def sentence_of(error: TlnlpError) -> str:
    """Return the message of an error as a sentence of a page: with a stop, and a capital unless an address is first."""
    text = str(error).rstrip(".")
    first = text.split(maxsplit=1)[0] if text else ""
    return f"{text if '/' in first or '@' in first else text[:1].upper() + text[1:]}."


class UsageError(TlnlpError):
    """Report a wrong command line or configuration."""

    exit_code = 2
    retryable = False


class ModelNotFoundError(UsageError):
    """Report a model, a version or a champion that the registry does not have; it names those that it has."""


class InputDataError(TlnlpError):
    """Report labels, documents or an encoder that cannot be read or used."""

    exit_code = 3
    retryable = False


class LabelFaultsError(InputDataError):
    """Report the faults of a labelled set."""


class BundleError(TlnlpError):
    """Report a model bundle that is incomplete, altered or of another format."""

    exit_code = 4
    retryable = False


class PromotionRefusedError(TlnlpError):
    """Report a refused promotion; the champion is unchanged."""

    exit_code = 5
    retryable = False


class StorageError(TlnlpError):
    """Report a store that cannot be reached, read or written."""

    exit_code = 6
    retryable = True


class NotFoundError(StorageError):
    """Report a name under which nothing is stored."""


class EngineError(TlnlpError):
    """Report a failure of Spark or Ray, or of a GPU."""

    exit_code = 7
    retryable = True


class NothingToPublishError(TlnlpError):
    """Report a scoring run that publishes nothing: empty input, or too many quarantined documents."""

    exit_code = 8
    retryable = False


class PublishConflictError(TlnlpError):
    """Report a publication that lost to another one, or a table of another source or model."""

    exit_code = 9
    retryable = False


class BudgetError(TlnlpError):
    """Report a run that would cost, or already costs, more than its budget."""

    exit_code = 10
    retryable = False


class DriftError(TlnlpError):
    """Report a night that publishes nothing: its documents, or what the model says of them, have changed too much."""

    exit_code = 11
    retryable = False


class DayHeldError(TlnlpError):
    """Report a run that ended because another run holds its day. The code is that of ``EX_TEMPFAIL`` in sysexits.h."""

    exit_code = 75
    retryable = True


def _error_classes(base: type[TlnlpError]) -> Iterator[type[TlnlpError]]:
    """Yield a class of errors and all classes below it."""
    yield base
    for below in base.__subclasses__():
        yield from _error_classes(below)


NO_RETRY_EXIT_CODES: tuple[int, ...] = tuple(
    sorted({error.exit_code for error in _error_classes(TlnlpError) if not error.retryable})
)
"""The exit codes that a scheduler must not retry: another try cannot mend them, and after ``BudgetError`` it would
spend another budget. The files in ``deploy/`` repeat them."""
