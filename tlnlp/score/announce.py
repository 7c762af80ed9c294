"""After publishing: tell the catalogs that cannot see a new snapshot themselves."""

from __future__ import annotations

from pyiceberg.catalog import Catalog

from tlnlp.config import ScoreSettings
from tlnlp.runs.ledger import Ledger
from tlnlp.runs.progress import say
from tlnlp.warehouse.announce import announce, names_of


def announce_night(catalog: Catalog, settings: ScoreSettings, ledger: Ledger) -> None:
    """Tell them, and note in the ledger who was told. What fails is noted too, and ends nothing: the day is there."""
    if not names_of(settings.announce):
        return
    with ledger.stage("announce"):
        done = announce(catalog, settings.table, settings.announce)
    ledger.results["announced"] = [one.to_json() for one in done]
    for one in done:
        if one.error:
            say(
                f"warning: the day is published, but {one.target} was not told of table {one.table}: {one.error}; to "
                "repeat it: tlnlp warehouse announce, with the --config and --set of this run"
            )
