"""Record a run in a ledger: one JSON object with its configuration, inputs, versions, durations, cost and outcome.

A ledger holds counts, URIs, digests, versions and durations, but never document text or credentials.
"""

from __future__ import annotations

import json
import math
import platform
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from enum import Enum
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

from tlnlp.errors import StorageError, TlnlpError, is_secret, masked
from tlnlp.runs import memory
from tlnlp.storage import Storage

FORMAT = 1
LIBRARIES = (
    "tlnlp",
    "pyspark",
    "ray",
    "torch",
    "transformers",
    "onnxruntime",
    "tokenizers",
    "pyarrow",
    "pyiceberg",
    "duckdb",
    "scikit-learn",
    "numpy",
)
Status = Literal["started", "succeeded", "failed"]


def utc_now() -> datetime:
    """Return the present time in UTC."""
    return datetime.now(UTC)


def new_run_id(now: datetime) -> str:
    """Return a run id such as ``20261123T230102-3f9a1c``: the time in UTC, by which ids sort, and three random bytes.

    Raises:
        ValueError: ``now`` has no time zone.
    """
    if now.tzinfo is None:
        raise ValueError("a run id needs a time with a time zone")
    return f"{now.astimezone(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"


class Ledger:
    """The record of one run, filled while it runs.

    Attributes:
        kind: the job, such as ``finetune`` or ``score``.
        run_id: id of the run.
        counts: numbers of rows and the like, by name; callers add to it.
        results: other results in JSON types, by name; callers add to it.
    """

    def __init__(
        self,
        kind: str,
        run_id: str,
        config: Mapping[str, object],
        clock: Callable[[], datetime] = utc_now,
        timer: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Start the record. ``clock`` returns the time with a time zone, ``timer`` seconds for durations."""
        self.kind, self.run_id = kind, run_id
        self.counts: dict[str, int] = {}
        self.results: dict[str, object] = {}
        self._config = _without_secrets(config)
        self._clock, self._timer = clock, timer
        self._inputs: list[dict[str, object]] = []
        self._stages: list[dict[str, object]] = []
        self._status: Status = "started"
        self._error: dict[str, object] | None = None
        self._started_at, self._began_s = clock(), timer()
        self._finished_at: datetime | None = None
        self._duration_s: float | None = None
        self._price: tuple[float, Mapping[str, object]] | None = None

    def priced(self, usd_per_hour: float, **facts: object) -> None:
        """Set the price of the run's machines in USD per hour; ``facts`` go into the ledger's cost beside it."""
        self._price = (usd_per_hour, facts)

    @property
    def cost(self) -> dict[str, object] | None:
        """The cost so far, or of the whole run once it is finished; None without a price."""
        if self._price is None:
            return None
        usd_per_hour, facts = self._price
        seconds = self._elapsed_s() if self._duration_s is None else self._duration_s
        return {**facts, "usd_per_hour": usd_per_hour, "usd": round(usd_per_hour * seconds / 3600, 6)}

    def _elapsed_s(self) -> float:
        """Return the run time in seconds, always rounded alike, so that no cost so far exceeds the final cost."""
        return round(self._timer() - self._began_s, 3)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Record the duration of the block in seconds, and whether it failed; an error is raised again."""
        began_s, status = self._timer(), "failed"
        try:
            yield
            status = "succeeded"
        finally:
            duration_s = round(self._timer() - began_s, 3)
            self._stages.append({"name": name, "status": status, "duration_s": duration_s})

    @contextmanager
    def recorded(self, save: Callable[[Ledger], object]) -> Iterator[None]:
        """Finish the ledger when the block ends, failed if it raised, and call ``save``.

        The block's own error is raised again, even if ``save`` then fails with StorageError.
        """
        try:
            yield
        except BaseException as error:
            self.finish("failed", error)
            with suppress(StorageError):
                save(self)
            raise
        self.finish("succeeded")
        save(self)

    def inputs(self, uri: str, digest: str | None, **facts: object) -> None:
        """Record an input: its URI, the digest of its contents (None if unknown), and further facts such as counts."""
        self._inputs.append({**facts, "uri": uri, "digest": digest})

    def finish(self, status: Literal["succeeded", "failed"], error: BaseException | None = None) -> None:
        """Record the end of the run; a later call replaces an earlier one."""
        self._status, self._finished_at = status, self._clock()
        self._duration_s = self._elapsed_s()
        self._error = None if error is None else _describe(error)

    def to_json(self) -> dict[str, Any]:
        """Return the ledger's present contents as JSON types; ``peak_memory`` is measured at the call."""
        finished_at = self._finished_at
        return {
            "format": FORMAT,
            "kind": self.kind,
            "run_id": self.run_id,
            "status": self._status,
            "started_at": self._started_at.isoformat(),
            "finished_at": finished_at.isoformat() if finished_at else None,
            "duration_s": self._duration_s,
            "cost": self.cost,
            "error": self._error,
            "config": self._config,
            "inputs": [_without_secrets(one) for one in self._inputs],
            "counts": dict(self.counts),
            "results": _without_secrets(self.results),
            "stages": list(self._stages),
            "peak_memory": peak_memory(),
            "versions": library_versions(),
            "python": platform.python_version(),
            "machine": platform.machine(),
        }

    def save(self, storage: Storage, key: str) -> None:
        """Write the ledger's present contents under ``key``, at the start and again at the end of a run."""
        storage.write(key, (json.dumps(self.to_json(), indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode())


def list_ledgers(storage: Storage, prefix: str = "") -> list[dict[str, Any]]:
    """Return every ledger below the folder ``prefix``, newest first.

    A damaged ledger is listed with its file name as ``run_id`` and the status ``unreadable``.
    """
    keys = [entry.key for entry in storage.list(prefix) if entry.key.endswith(".json")]
    ledgers = [_parse(key, storage.read(key)) for key in keys]
    return sorted(ledgers, key=lambda ledger: (str(ledger["started_at"]), str(ledger["run_id"])), reverse=True)


def library_versions() -> dict[str, str]:
    """Return the versions of the installed ones among ``LIBRARIES``."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def peak_memory() -> dict[str, int]:
    """Return the peak resident memory of this process, and of its largest child that has ended, in bytes."""
    return {"process_bytes": memory.peak_bytes(), "largest_child_bytes": memory.children_peak_bytes()}


def _describe(error: BaseException) -> dict[str, object]:
    # Our own messages hold no user's text. A library's may quote a row of data, so only its class is recorded.
    ours = isinstance(error, TlnlpError)
    return {
        "class": type(error).__name__,
        "exit_code": error.exit_code if isinstance(error, TlnlpError) else TlnlpError.exit_code,
        "message": _plain(str(error)) if ours else None,
    }


def _without_secrets(values: Mapping[str, object]) -> dict[str, Any]:
    return {str(key): _plain(value) for key, value in values.items() if not is_secret(str(key))}


def _plain(value: object) -> Any:
    """Return the value as JSON types, with its secrets masked."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return _without_secrets(value)
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, set | frozenset):
        return sorted(_plain(one) for one in value)
    if isinstance(value, Enum):
        return _plain(value.value)
    if isinstance(value, datetime):
        return value.isoformat()
    return masked(str(value))


def _parse(key: str, data: bytes) -> dict[str, Any]:
    try:
        ledger = json.loads(data)
        if isinstance(ledger, dict) and {"run_id", "started_at", "status"} <= ledger.keys():
            return ledger
    except ValueError:
        pass
    run_id = key.rsplit("/", 1)[-1].removesuffix(".json")
    return {"run_id": run_id, "status": "unreadable", "started_at": "", "key": key}


def read_ledger(storage: Storage, key: str) -> dict[str, Any]:
    """Return the ledger under ``key``.

    Raises:
        NotFoundError: nothing is stored under ``key``.
        StorageError: the object is not a ledger.
    """
    ledger = _parse(key, storage.read(key))
    if ledger["status"] == "unreadable":
        raise StorageError(f"{storage.url(key)}: not a ledger of tlnlp; delete it, no result depends on it")
    return ledger
