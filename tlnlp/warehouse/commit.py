"""Repeat a commit until it succeeds, while other commits come first or the store's answer is lost."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from pyiceberg.exceptions import (
    CommitFailedException,
    RESTError,
    TableAlreadyExistsError,
    ValidationException,
)

from tlnlp.errors import StorageError

if TYPE_CHECKING:
    from pyiceberg.expressions import BooleanExpression
    from pyiceberg.manifest import DataFile
    from pyiceberg.table import Transaction
    from pyiceberg.table.update.snapshot import _SnapshotProducer

TRIES = 12
_FIRST_WAIT_S = 0.05
_LONGEST_WAIT_S = 2.0
# Errors of a commit that has changed nothing, and of one that may have changed the table.
LOST = (CommitFailedException, TableAlreadyExistsError, ValidationException)
_UNKNOWN = (RESTError, StorageError, OSError)

Result = TypeVar("Result")


class _UnsettledError(Exception):
    """A commit failed, or its outcome is unknown: the table must be read again. ``cause`` is the error."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


def overwrite(
    transaction: Transaction,
    summary: Mapping[str, str],
    rows: BooleanExpression,
    old: Iterable[DataFile],
    new: Iterable[DataFile] = (),
) -> _SnapshotProducer[Any]:
    """Return a snapshot, not committed yet, that removes the files ``old`` and adds the files ``new``.

    Args:
        summary: what the summary of the snapshot says.
        rows: the condition of the rows of all these files. The commit fails if another one has changed such rows.
    """
    update = transaction.update_snapshot(snapshot_properties=dict(summary)).overwrite()
    update.delete_by_predicate(rows)
    for file in old:
        update.delete_data_file(file)
    for file in new:
        update.append_data_file(file)
    return update


def commit(update: _SnapshotProducer[Any], transaction: Transaction) -> None:
    """Commit a new snapshot and its transaction (see ``settling``)."""
    with settling():
        update.commit()
        transaction.commit_transaction()


@contextmanager
def settling() -> Iterator[None]:
    """Wrap a commit. Inside ``commit_in_turn``, a lost or unknown commit is followed by another attempt."""
    try:
        yield
    except (*LOST, *_UNKNOWN) as error:
        raise _UnsettledError(error) from error


def commit_in_turn(attempt: Callable[[], Result], gave_up: Callable[[Exception], Exception]) -> Result:
    """Return what ``attempt`` returns, and repeat it while its commit is lost or its outcome is unknown.

    Args:
        attempt: reads the table, plans by what it finds, and calls ``commit``. It must notice a commit of its own that
            an earlier attempt has made.
        gave_up: returns the error to raise after the last attempt, from the cause of its failure.

    Raises:
        StorageError: the store failed before any commit of unknown outcome.
    """
    cause: Exception | None = None
    for number in range(TRIES):
        if number:
            time.sleep(random.uniform(0.5, 1.0) * min(_FIRST_WAIT_S * 2**number, _LONGEST_WAIT_S))
        try:
            return attempt()
        except _UnsettledError as error:
            cause = error.cause
        except StorageError:
            # Without an earlier commit of unknown outcome, this error is final.
            if cause is None or isinstance(cause, LOST):
                raise
    assert cause is not None
    raise gave_up(cause) from cause
