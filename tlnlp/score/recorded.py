"""Record a run in its warehouse, unless the run was refused before there was a warehouse."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress

from tlnlp.errors import InputDataError, UsageError
from tlnlp.runs.ledger import Ledger
from tlnlp.runs.lineage import Lineage
from tlnlp.storage import Storage, local_path
from tlnlp.warehouse.run_folder import all_ledgers


@contextmanager
def recorded(ledger: Ledger, warehouse: str, lineage: Lineage | None = None) -> Iterator[None]:
    """Save the ledger in the warehouse when the block ends, also when it fails.

    Where settings are wrong or documents cannot be read, and nothing is in the warehouse, no warehouse is created:
    there is no ledger then, and the folders that the run has made are removed.
    """
    storage, path = Storage(warehouse), local_path(warehouse)
    made = [folder for folder in (path, *path.parents) if not folder.exists()] if path else []
    is_new = bool(made) if path else not any(storage.list())
    refused = False

    def save(finished: Ledger) -> None:
        """Store the ledger and the lineage, or remove what a refused run has made."""
        if refused and is_new and not any(storage.list()):
            storage.delete_folder("")
            with suppress(OSError):  # The last folder that can be removed is the last one that is empty.
                for folder in made[1:]:
                    folder.rmdir()
        else:
            finished.save(all_ledgers(warehouse), f"{finished.run_id}.json")
            if lineage is not None:
                lineage.write(storage)

    with lineage.sent() if lineage is not None else nullcontext(), ledger.recorded(save):
        try:
            yield
        except (UsageError, InputDataError):
            refused = True
            raise
