"""Every error a user can meet, each class with its exit code.

    TlnlpError                      1   a fault of tlnlp itself (also any exception not listed here)
    ├── UsageError                  2   command line or config: unknown key, bad value, wrong combination
    ├── InputDataError              3   labels or documents cannot be read as promised
    │   └── LabelFaultsError        3   the labelled set has faults, all of them listed
    ├── BundleError                 4   a model bundle is incomplete, altered or of another format
    ├── PromotionRefusedError       5   the gate keeps the champion
    ├── StorageError                6   a store cannot be reached, read or written
    │   └── NotFoundError           6   nothing is stored under that name
    ├── EngineError                 7   Spark or Ray failed
    ├── NothingToPublishError       8   the night was refused: empty input, or too much in quarantine
    ├── PublishConflictError        9   another publisher won; or the table belongs to another source or model
    └── BudgetError                10   the run would cost, or has come to cost, more than its budget

A message says what is wrong, where, and the next safe step. It never holds document text or credentials.
"""

from __future__ import annotations

from typing import ClassVar


class TlnlpError(Exception):
    """Base of the tree. ``str(error)`` is what the user reads."""

    exit_code: ClassVar[int] = 1


class UsageError(TlnlpError):
    exit_code = 2


class InputDataError(TlnlpError):
    exit_code = 3


class LabelFaultsError(InputDataError):
    pass


class BundleError(TlnlpError):
    exit_code = 4


class PromotionRefusedError(TlnlpError):
    exit_code = 5


class StorageError(TlnlpError):
    exit_code = 6


class NotFoundError(StorageError):
    pass


class EngineError(TlnlpError):
    exit_code = 7


class NothingToPublishError(TlnlpError):
    exit_code = 8


class PublishConflictError(TlnlpError):
    exit_code = 9


class BudgetError(TlnlpError):
    exit_code = 10
