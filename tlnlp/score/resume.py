"""Resume a run that did not publish: register runs, so that a later run can reuse their finished pieces.

    unfinished/<run_id>.json    table, model version and bundle digest; exists from a run's start until it has published

A finished piece never changes, and its scores depend only on the texts and the bundle. So a later run of the same table
and bundle may reuse it, whether the earlier run was stopped, was killed or is still running.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass

from tlnlp.errors import InputDataError, StorageError
from tlnlp.registry import ModelVersion
from tlnlp.score import lease
from tlnlp.storage import Storage
from tlnlp.warehouse.audit import footer_rows
from tlnlp.warehouse.run_folder import LEASE, PREPARED, only_quarantine, read_manifest, run_storage, score_manifests

FOLDER = "unfinished"


@dataclass(frozen=True)
class UnfinishedRuns:
    """The register of unfinished runs in a warehouse, as the run ``run_id`` of one table and bundle uses it."""

    warehouse: str
    run_id: str
    table: str
    model: ModelVersion
    digest: str

    def register(self) -> None:
        """Add this run to the register."""
        entry = {"table": self.table, "model": str(self.model), "digest": self.digest}
        self._entries().write(f"{self.run_id}.json", json.dumps(entry).encode())

    def unregister(self) -> None:
        """Remove this run from the register: it has published, or it has no pieces to reuse."""
        self._entries().delete([f"{self.run_id}.json"])

    def unregister_if_empty(self) -> None:
        """Remove this run from the register if it failed before it finished a piece."""
        with suppress(StorageError):
            if not self._pieces(self.run_id):
                self.unregister()

    def finished_files(self) -> list[str]:
        """Return the URIs of the score files in the finished pieces of other unfinished runs of this table and bundle.

        A piece is skipped if one of its files is missing or holds another number of rows, which may happen while
        another run is cleaning.
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
        """Return True if the run is of this table, is no longer active and is known to have published nothing.

        For other runs, return False: cleaning then judges them by their age.
        """
        entry = self._others().get(run_id)
        if entry is None or entry.get("table") != self.table:
            return False
        run = run_storage(self.warehouse, run_id)
        return lease.has_ended(run) or not run.exists(LEASE)

    def others(self) -> list[str]:
        """Return the ids of the other runs in the register, of any table."""
        return sorted(self._others())

    def unregister_published(self, published: Collection[str]) -> None:
        """Remove the runs that have published from the register, and what such a run has left of the documents.

        A run that was killed between its commit and its end leaves both.
        """
        for run_id in set(published) & set(self._others()):
            run_storage(self.warehouse, run_id).delete_folder(PREPARED)
            self._entries().delete([f"{run_id}.json"])

    def unregister_removed(self) -> None:
        """Remove this table's other runs from the register if they have no files that a run could reuse."""
        for run_id, entry in self._others().items():
            keys = [stored.key for stored in run_storage(self.warehouse, run_id).list()]
            if entry.get("table") == self.table and only_quarantine(keys):
                self._entries().delete([f"{run_id}.json"])

    def _entries(self) -> Storage:
        return Storage(self.warehouse).at(FOLDER)

    def _others(self) -> dict[str, dict[str, str]]:
        others: dict[str, dict[str, str]] = {}
        entries = self._entries()
        for key in sorted(entry.key for entry in entries.list()):
            run_id = key.removesuffix(".json")
            if run_id != self.run_id:
                with suppress(StorageError, ValueError):  # The run may have published since the listing.
                    others[run_id] = dict(json.loads(entries.read(key)))
        return others

    def _pieces(self, run_id: str) -> list[list[str]]:
        """Return the file URIs of each finished piece of scores whose files are complete."""
        run = run_storage(self.warehouse, run_id)
        present = {entry.key for entry in run.list()}
        complete = []
        for key in score_manifests(present):
            with suppress(StorageError, InputDataError, ValueError, OSError):
                files = read_manifest(run, key).files
                keys = {uri.removeprefix(run.url("")).lstrip("/") for uri in files}
                if keys <= present and all(footer_rows([uri]) == rows for uri, rows in files.items()):
                    complete.append(sorted(files))
        return complete
