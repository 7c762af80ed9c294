"""Let one run at a time hold a day of a table, so that a second run ends before it does any work.

    days/<table>/<score_date>.json    the run that holds the day, and when it began

The holder is alive as long as it renews the lease of its own folder (``lease.py``). Its age is the difference of two
times that the store has given to two objects, so the clocks of the machines do not matter.

This saves work and decides nothing: what is published is decided by the commit of the scores (``warehouse/night.py``).
So a day may be taken from a run that only seems to be dead; then both work, and one of them publishes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime

from tlnlp.errors import DayHeldError, NotFoundError, StorageError
from tlnlp.score import lease
from tlnlp.storage import Storage
from tlnlp.warehouse.run_folder import LEASE, run_storage

FOLDER = "days"
_TRIES = 20


@dataclass(frozen=True)
class DayLease:
    """The hold of a run on one day of one table."""

    warehouse: str
    table: str
    day: date
    run_id: str

    @contextmanager
    def held(self, take_over: bool = False) -> Iterator[None]:
        """Hold the day until the block ends. The run must hold the lease of its own folder all the time.

        Args:
            take_over: whether to take the day from a run that is alive.

        Raises:
            DayHeldError: another run holds the day and is alive.
            StorageError: the warehouse cannot be read or written.
        """
        self._take(take_over)
        try:
            yield
        finally:
            with suppress(StorageError):  # The hold ends with the lease of the run's folder in any case.
                if self._holder()[0] == self.run_id:
                    self._storage().delete([self._key])

    def check(self) -> None:
        """Raise DayHeldError if another run has taken the day over."""
        try:
            other, _ = self._holder()
        except StorageError:
            return
        if other != self.run_id:
            raise DayHeldError(
                f"table {self.table}: run {other} has taken {self.day} over, so run {self.run_id} ended and published "
                "nothing; what it had scored is reused; check that run, and score the day again if it fails"
            )

    @property
    def _key(self) -> str:
        return f"{self.table}/{self.day.isoformat()}.json"

    def _storage(self) -> Storage:
        return Storage(self.warehouse).at(FOLDER)

    def _take(self, take_over: bool) -> None:
        storage = self._storage()
        began = datetime.now(UTC).isoformat(timespec="seconds")
        mine = json.dumps({"run_id": self.run_id, "began_at": began}).encode()
        for _ in range(_TRIES):
            if storage.put_if_absent(self._key, mine):
                return
            try:
                found = storage.read_tagged(self._key)
            except NotFoundError:
                continue  # The holder has just ended.
            other, since = _parse(found.data)
            if other == self.run_id:
                return  # The store's client repeated our own request, or its answer was lost.
            sign = self._sign_of_life(other)
            if sign is not None and not take_over:
                raise self._refusal(other, since, sign)
            if storage.compare_and_swap(self._key, mine, found.tag):
                return
        raise DayHeldError(
            f"table {self.table}: many runs want to score {self.day} at once, so this one ended before it read "
            "anything; start one run of a day at a time"
        )

    def _holder(self) -> tuple[str, str]:
        try:
            return _parse(self._storage().read(self._key))
        except NotFoundError:
            return self.run_id, ""

    def _sign_of_life(self, run_id: str) -> float | None:
        """Return how many seconds ago the run renewed its lease; None if it has ended or is taken for dead."""
        run = run_storage(self.warehouse, run_id)
        renewed = run.entry(LEASE) if run_id else None
        own = run_storage(self.warehouse, self.run_id).entry(LEASE)
        if renewed is None or own is None or lease.has_ended(run):
            return None
        age_s = (own.modified - renewed.modified).total_seconds()
        return max(0.0, age_s) if age_s < lease.EXPIRES_S else None

    def _refusal(self, other: str, since: str, sign_s: float) -> DayHeldError:
        where = lease.holder_of(run_storage(self.warehouse, other))
        return DayHeldError(
            f"table {self.table}: run {other} ({where}) has been scoring {self.day} since {since} and gave a sign of "
            f"life {sign_s:.0f} s ago, so this run ended before it read anything; wait for that run; if it was killed "
            f"on another machine, the day is free {lease.EXPIRES_S:.0f} s after its last sign of life, or at once with "
            "--set take_over=true (this is safe: of two runs of a day one publishes)"
        )


def remove_days_of(warehouse: str, runs: list[str]) -> None:
    """Remove what these runs, which are dead, have left of their days."""
    storage = Storage(warehouse).at(FOLDER)
    for key in [entry.key for entry in storage.list()] if runs else []:
        with suppress(NotFoundError):
            if _parse(storage.read(key))[0] in runs:
                storage.delete([key])


def _parse(data: bytes) -> tuple[str, str]:
    """Return the holder's run id and when it began; empty if the object is damaged."""
    try:
        content = json.loads(data)
        return str(content["run_id"]), str(content["began_at"])
    except (ValueError, KeyError, TypeError):
        return "", ""
