"""Notify external catalogs after publishing, for the catalogs that do not see a new snapshot by themselves."""

from __future__ import annotations

from pyiceberg.catalog import Catalog

from tlnlp.config import ScoreSettings
from tlnlp.runs.ledger import Ledger
from tlnlp.runs.progress import say
from tlnlp.warehouse.announce import announce, names_of


def announce_night(catalog: Catalog, settings: ScoreSettings, ledger: Ledger) -> None:
    """Notify each configured catalog, and record the outcomes in the ledger.

    A notification that fails is recorded and printed as a warning. It raises nothing, because the day is published.
    """
    if not names_of(settings.announce):
        return
    with ledger.stage("announce"):
        outcomes = announce(catalog, settings.table, settings.announce)
    ledger.results["announced"] = [outcome.to_json() for outcome in outcomes]
    for outcome in outcomes:
        if outcome.error:
            say(
                f"warning: the day is published, but {outcome.target} was not notified of table {outcome.table}: "
                f"{outcome.error}; to notify it, run tlnlp warehouse announce with the --config and --set options of "
                "this run"
            )
