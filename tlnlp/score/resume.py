"""Runs that have not published: what they are of, so that the next run of the same goes on from their finished pieces.

    unfinished/<run_id>.json    table, model, version and bundle digest; there from a run's start until it has published

A finished piece never changes, and its scores are a function of text and bundle alone. So a later run of the same table
and bundle may take them for its own, whether the earlier one was stopped, killed or is still at work.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass

from tlnlp.errors import InputDataError, StorageError
from tlnlp.registry import ModelVersion
from tlnlp.score import lease
from tlnlp.storage import Storage
from tlnlp.warehouse.audit import footer_rows

FOLDER = "unfinished"
MANIFESTS = "manifests"
SCORED = "scores-"


@dataclass(frozen=True)
class Unfinished:
    """The unfinished runs of one table and bundle in a warehouse, as the run ``run_id`` sees them."""

    warehouse: str
    run_id: str
    table: str
    model: ModelVersion
    digest: str

    def begin(self) -> None:
        """Enter this run."""
        entry = {"table": self.table, "model": str(self.model), "digest": self.digest}
        self._entries().write(f"{self.run_id}.json", json.dumps(entry).encode())

    def end(self) -> None:
        """Strike this run out: it has published, or left nothing to go on from."""
        self._entries().delete([f"{self.run_id}.json"])

    def leave(self) -> None:
        """After a failure: strike this run out unless it leaves a finished piece."""
        with suppress(StorageError):
            if not self._pieces(self.run_id):
                self.end()

    def finished_files(self) -> list[str]:
        """URIs of the score files that other unfinished runs of this table and bundle have finished, all of them there.

        A piece whose files are gone or were cut short (someone is cleaning) is passed over.
        """
        wanted = (self.table, str(self.model), self.digest)
        return [
            file
            for run_id, entry in self._others().items()
            if (entry.get("table"), entry.get("model"), entry.get("digest")) == wanted
            for piece in self._pieces(run_id)
            for file in piece
        ]

    def has_ended(self, run_id: str) -> bool:
        """True if a run of this table is surely over without having published; others' runs are left to their age."""
        entry = self._others().get(run_id)
        if entry is None or entry.get("table") != self.table:
            return False
        run = self._run(run_id)
        return lease.has_ended(run) or not run.exists(lease.KEY)

    def forget(self) -> None:
        """Strike out the table's other runs that have no files any more."""
        for run_id, entry in self._others().items():
            if entry.get("table") == self.table and not any(self._run(run_id).list()):
                self._entries().delete([f"{run_id}.json"])

    def _entries(self) -> Storage:
        return Storage(self.warehouse).at(FOLDER)

    def _run(self, run_id: str) -> Storage:
        return Storage(self.warehouse).at(f"runs/{run_id}")

    def _others(self) -> dict[str, dict[str, str]]:
        found: dict[str, dict[str, str]] = {}
        entries = self._entries()
        for key in sorted(entry.key for entry in entries.list()):
            run_id = key.removesuffix(".json")
            if run_id != self.run_id:
                with suppress(StorageError, ValueError):  # It may have ended since the listing.
                    found[run_id] = dict(json.loads(entries.read(key)))
        return found

    def _pieces(self, run_id: str) -> list[list[str]]:
        run = self._run(run_id)
        present = {entry.key for entry in run.list()}
        sound = []
        for key in sorted(present):
            if key.startswith(f"{MANIFESTS}/{SCORED}"):
                with suppress(StorageError, InputDataError, ValueError, KeyError, OSError):
                    files: dict[str, int] = json.loads(run.read(key))["files"]
                    keys = {uri.removeprefix(run.url("")).lstrip("/") for uri in files}
                    if keys <= present and all(footer_rows([uri]) == rows for uri, rows in files.items()):
                        sound.append(sorted(files))
        return sound
