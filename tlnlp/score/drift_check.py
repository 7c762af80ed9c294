"""Compare a night with the reference before it is published, and store its profile afterwards."""

from __future__ import annotations

from tlnlp.config import ScoreSettings
from tlnlp.errors import DriftError, StorageError
from tlnlp.runs.ledger import Ledger
from tlnlp.runs.progress import say
from tlnlp.score.drift import DriftProfiles, NightProfile, compare, describe
from tlnlp.score.night_context import NightContext
from tlnlp.warehouse.row_counts import RowCounts


def check_drift(settings: ScoreSettings, ledger: Ledger, night: NightContext, rows: RowCounts) -> NightProfile:
    """Return the profile of a night; write to the ledger how it differs from the reference, and warn if it has changed.

    Args:
        rows: the counts of all rows that the night is about to publish.

    Raises:
        DriftError: the night has changed, and the settings say that it is not published then.
        InputDataError: the reference of the settings does not exist.
        StorageError: the warehouse cannot be read.
    """
    counts = rows.by_statistic() | night.scorer.text_counts
    day, scorer = settings.score_date.isoformat(), night.scorer
    own = NightProfile(day, night.model.version, scorer.scored_by, counts)
    reference = DriftProfiles(settings.warehouse, settings.table).reference(settings.drift, own)
    changes = compare(own, reference, settings.drift.least_change) if reference is not None else []
    ledger.results["drift"] = {
        "reference": reference.score_date if reference is not None else None,
        "changes": [one.to_json() for one in changes],
    }
    if reference is None or not any(one.has_changed for one in changes):
        return own
    sentence = describe(changes, reference)
    if settings.drift.stop:
        raise DriftError(
            f"{settings.documents}: {sentence}; nothing was published (drift.stop): look at the documents; if they are "
            "right, fine-tune with some of them, set drift.reference to a later day, or run with drift.stop=false"
        )
    say(f"WARNING: {sentence}: the model may be less accurate than its report says: label some of them, and evaluate")
    return own


def store_profile(settings: ScoreSettings, profile: NightProfile) -> None:
    """Store the profile of a published night. A failure is only logged: the night is published."""
    try:
        DriftProfiles(settings.warehouse, settings.table).write(profile)
    except StorageError as error:
        say(f"warning: the drift profile of {profile.score_date} was not stored: {error}")


def changed_statistics(ledger: Ledger) -> tuple[str, ...]:
    """Return the names of the statistics that the ledger calls changed."""
    found = ledger.results.get("drift")
    changes = found["changes"] if isinstance(found, dict) else []
    return tuple(str(one["statistic"]) for one in changes if one["has_changed"])
