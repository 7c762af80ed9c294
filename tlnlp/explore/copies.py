"""Keep copies of the nights that were looked at last, in a temporary folder of this process."""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path

from tlnlp.errors import StorageError, TlnlpError
from tlnlp.explore.cache import OnceCache
from tlnlp.runs.scratch import process_folder
from tlnlp.storage.causes import described
from tlnlp.warehouse.night_copy import write_copy
from tlnlp.warehouse.nights import Night, ScoresTable
from tlnlp.warehouse.query_worker import Limits

_MOST = 3  # Each takes some 25 bytes for each row.


class Copies:
    """The copies of at most ``_MOST`` nights. Those that were not used for longest are removed."""

    def __init__(self) -> None:
        # A query that reads a removed copy goes on: its file is open.
        self._made = OnceCache(_MOST, dropped=lambda file: file.unlink(missing_ok=True))

    def file(self, table: ScoresTable, night: Night, limits: Limits) -> Path:
        """Return the copy of a night; the first call makes it, and others wait. Raises UsageError, StorageError."""
        if self.known(night) is None:
            self._made.forget(night.token)
        return self._made.get(night.token, lambda: self._make(table, night, limits))

    def known(self, night: Night) -> Path | None:
        """Return the copy of a night if it is at hand. What cleans temporary folders may have removed it."""
        file: Path | None = self._made.peek(night.token)
        return file if file is not None and file.exists() else None

    def begin(self, table: ScoresTable, night: Night, limits: Limits) -> None:
        """Make the copy of a night in a thread of its own, unless it is there."""
        if self.known(night) is None:
            threading.Thread(target=self._try, args=(table, night, limits), daemon=True).start()

    def _try(self, table: ScoresTable, night: Night, limits: Limits) -> None:
        with suppress(TlnlpError):
            self.file(table, night, limits)

    def _make(self, table: ScoresTable, night: Night, limits: Limits) -> Path:
        try:
            file = process_folder("explore") / f"{table.name}-{night.token}.duckdb"
            write_copy(table, night, file, limits)
            return file
        except PermissionError as error:
            raise StorageError(f"the temporary folder of the pages cannot be used: {error}") from error
        except OSError as error:
            raise StorageError(f"the temporary folder of the pages cannot be written {described(error)}") from error
