"""Publish the two tables of a night, so that its scores and its quarantine are of one run in every order of events.

Iceberg commits one table at a time. So the snapshot of the scores is the only commit point of a night:

1. The quarantine rows are added beside those of the day's published run. Readers leave them out, because the scores of
   that day name another run (``published_runs.py``).
2. The scores of the day are replaced. From this snapshot on, readers see the new scores and the new quarantine.
3. The quarantine rows that were there at step 1 are removed. Their runs cannot publish any more: each of them noted the
   state of the day before it added its rows, and step 2 has changed that state.

A run that stops between two steps leaves rows that no reader sees, until the next run of the day removes them.
"""

from __future__ import annotations

import logging

from pyiceberg.catalog import Catalog

from tlnlp.errors import EngineError, PublishConflictError, StorageError, UsageError
from tlnlp.storage import resolve_uri
from tlnlp.warehouse.publish import Publication, PublishResult, publish_beside, publish_day, remove_files

_LOG = logging.getLogger("tlnlp.warehouse")


def publish_night(
    catalog: Catalog, scores: Publication, quarantine: Publication, expected: str | None = None
) -> PublishResult:
    """Publish the scores and the quarantine of one run and day; return the result of the scores.

    Args:
        catalog: the catalog of both tables.
        scores: what replaces the day in the table of scores.
        quarantine: the same for its quarantine.
        expected: the ``day_token`` of the scores from the start of the run; None skips that check.

    Raises:
        PublishConflictError, UsageError, EngineError, StorageError: as in ``publish_day``.
    """
    replaced = publish_beside(catalog, quarantine)
    try:
        result = publish_day(catalog, scores, expected)
    except (PublishConflictError, UsageError, EngineError):
        # These errors mean that the scores were not published. After a StorageError they may have been.
        _remove(catalog, quarantine, [resolve_uri(file) for file in quarantine.files])
        raise
    _remove(catalog, quarantine, replaced)
    return result


def _remove(catalog: Catalog, quarantine: Publication, files: list[str]) -> None:
    """Remove rows that no reader sees. A failure does no harm, so it is only logged."""
    if not files:
        return
    try:
        remove_files(catalog, quarantine, files)
    except (PublishConflictError, StorageError) as error:
        _LOG.warning(
            "warning: table %s still holds rows of %s that belong to no published run: queries leave them out, and the "
            "next run of that day removes them (%s)",
            quarantine.table,
            quarantine.score_date,
            error,
        )
