"""What all pages share: the table as it is now, queries of it, and what was computed from it before."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from datetime import date
from typing import Any, TypeVar

from tlnlp.config import ExploreSettings
from tlnlp.errors import NotFoundError
from tlnlp.explore.cache import OnceCache
from tlnlp.explore.copies import Copies
from tlnlp.warehouse.night_copy import ROWS, open_copy, read_row
from tlnlp.warehouse.nights import Night, ScoresTable, read_scores
from tlnlp.warehouse.query import QueryStream
from tlnlp.warehouse.query_engine import identifier
from tlnlp.warehouse.query_worker import Limits
from tlnlp.warehouse.schema import SCORE_DATE

T = TypeVar("T")

_QUERIES = 2  # At once; each may take the memory limit.
_KEPT = 300  # Cached values; each is as large as what a page shows of it.
_MODELS = 2  # Loaded versions; each takes about a hundred megabytes.


class Explorer:
    """Read access to one table of scores, for the pages.

    Args:
        settings: what is shown.
        fresh_s: for so many seconds, the table is not looked up again: a page and what it links to are of one moment.

    Fields:
        models: loaded versions, by name, number and profile.
    """

    def __init__(self, settings: ExploreSettings, fresh_s: float = 1.0) -> None:
        self.settings, self._fresh_s = settings, fresh_s
        self._limits = Limits(settings.timeout_s, settings.memory_limit)
        self._free = threading.BoundedSemaphore(_QUERIES)
        self._cache, self.models = OnceCache(_KEPT), OnceCache(_MODELS)
        self._copies = Copies()
        self._lock = threading.Lock()
        self._table: ScoresTable | None = None
        self._read_at = 0.0

    def table(self) -> ScoresTable:
        """Return the table as it is now. Raises NotFoundError, StorageError."""
        settings = self.settings
        with self._lock:
            if self._table is None or time.monotonic() - self._read_at > self._fresh_s:
                self._table = read_scores(settings.warehouse, settings.catalog, settings.table, self._table)
                self._read_at = time.monotonic()
            return self._table

    def night(self, table: ScoresTable, day: date | None) -> Night:
        """Return the night of a day, or the newest. Raises NotFoundError if it was not published."""
        night = table.night(day)
        if night is None:
            nights = f"the newest night is {table.nights[0].day}" if table.nights else "it has no night"
            raise NotFoundError(f"table {table.name}: no night of {day} was published ({nights}); choose another day")
        return night

    @contextmanager
    def stream(self, table: ScoresTable, sql: str, *parameters: object) -> Iterator[QueryStream]:
        """Run one read-only query; yield its rows as a stream. Raises UsageError, StorageError."""
        with self._free, table.open_query(sql, parameters, self._limits) as stream:
            yield stream

    def rows(self, table: ScoresTable, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Run one read-only query and return all its rows. Raises UsageError, StorageError."""
        with self.stream(table, sql, *parameters) as stream:
            return stream.all_rows().rows

    def night_rows(self, table: ScoresTable, night: Night) -> str:
        """Return what stands after FROM in a query of a night by ``rows``: its rows in the table itself."""
        return f"(SELECT * FROM {identifier(table.name)} WHERE {SCORE_DATE} = DATE '{night.day.isoformat()}')"

    def copy_rows(self, table: ScoresTable, night: Night, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Run one read-only query of ``night``, a copy of the rows of a night, and return all its rows.

        The first query of a night makes the copy, which takes about a second for each million rows.

        Raises:
            UsageError: a limit was exceeded.
            StorageError: the table cannot be read, or the copy cannot be written.
        """
        file = self._copies.file(table, night, self._limits)
        with self._free, open_copy(file, sql, parameters, self._limits) as stream:
            return stream.all_rows().rows

    def row(self, table: ScoresTable, night: Night, document_id: str) -> dict[str, Any] | None:
        """Return the row of a document with all its columns; None if the night has none. Raises as ``rows`` does.

        Where the copy of the night is at hand, it says where the row is. Otherwise the night is read through.
        """
        if self._copies.known(night) is not None:
            places = self.copy_rows(
                table, night, f"SELECT rowid FROM {ROWS} WHERE document_id = ? LIMIT 1", document_id
            )
            found = read_row(table, night, places[0][0]) if places else {}
            if not places or found.get("document_id") == document_id:
                return found or None
        sql = f"SELECT * FROM {self.night_rows(table, night)} WHERE document_id = ? LIMIT 1"
        with self.stream(table, sql, document_id) as stream:
            whole = stream.all_rows()
        return dict(zip(whole.columns, whole.rows[0], strict=True)) if whole.rows else None

    def copy_in_background(self, table: ScoresTable, night: Night) -> None:
        """Begin to make the copy of a night, for pages that are likely to follow. A failure is theirs to report."""
        self._copies.begin(table, night, self._limits)

    def once(self, key: Hashable, make: Callable[[], T], lasts: Callable[[T], bool] = lambda value: True) -> T:
        """Return a value that depends on its key alone; it is computed by the first call.

        Args:
            lasts: returns whether a value is kept; one that says what failed must not be.
        """
        value = self._cache.get(key, make)
        if not lasts(value):
            self._cache.forget(key)
        return value

    def known(self, key: Hashable) -> Any | None:
        """Return a value of ``once`` if it was computed before, else None."""
        return self._cache.peek(key)
