"""Compare a night with an earlier one: have the documents changed, or what the model says of them?

A night's profile counts its rows by label, confidence and stage, and some of its texts by length, script and unknown
words. Two profiles are compared count by count, by tests of homogeneity that together raise a false alarm in at most
one of a hundred nights; and a change that is certain but small is none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlnlp.config import DriftSettings
from tlnlp.errors import InputDataError
from tlnlp.storage import Storage

FORMAT = 1
# Share of nights without any change that may raise an alarm, all statistics together.
FALSE_ALARMS = 0.01
# Fewest rows that each of two profiles must be expected to have in a bin; smaller bins are joined.
LEAST_EXPECTED = 5.0
# Statistics that depend on how a night scores: nights of another bundle or profile are not compared by them.
OF_PROFILE = frozenset({"stage", "confidence", "unknown_words"})

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class NightProfile:
    """Hold the counts of a night, and what has scored it.

    Fields:
        score_date: the day, as YYYY-MM-DD.
        model_version, scored_by: as its rows have them.
        counts: numbers of rows or texts by bin, by statistic.
    """

    score_date: str
    model_version: int
    scored_by: str
    counts: Mapping[str, tuple[int, ...]]

    def to_json(self) -> dict[str, Any]:
        """Return the fields by name, and the format."""
        return {"format": FORMAT, **vars(self), "counts": {name: list(row) for name, row in self.counts.items()}}

    @staticmethod
    def from_json(data: bytes) -> NightProfile | None:
        """Return a stored profile; None if the data is none, or one of another format."""
        try:
            values = json.loads(data)
            counts = {str(name): tuple(map(int, row)) for name, row in values["counts"].items()}
            own = NightProfile(
                str(values["score_date"]), int(values["model_version"]), str(values["scored_by"]), counts
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            return None
        return own if values.get("format") == FORMAT else None


@dataclass(frozen=True)
class Change:
    """Hold the comparison of one statistic.

    Fields:
        statistic: its name.
        change: total variation distance of the two distributions: the share of rows that would have to be of another
            bin, from 0 to 1.
        p_value: chance of so large a difference without any change; by the chi-squared test of homogeneity.
        has_changed: whether this is certain, and large enough to matter.
    """

    statistic: str
    change: float
    p_value: float
    has_changed: bool

    def to_json(self) -> dict[str, Any]:
        """Return the fields by name, rounded."""
        return vars(self) | {"change": round(self.change, 4), "p_value": float(f"{self.p_value:.3g}")}


def compare(own: NightProfile, reference: NightProfile, least_change: float) -> list[Change]:
    """Return the comparison of each statistic that both profiles have.

    Args:
        least_change: smallest change, as a total variation distance, that matters.
    """
    skipped = OF_PROFILE if own.scored_by != reference.scored_by else frozenset[str]()
    names = [name for name in own.counts if name in reference.counts and name not in skipped]
    level = FALSE_ALARMS / max(1, len(names))  # Bonferroni's correction.
    found = []
    for name in names:
        distance, p_value = homogeneity(np.array(own.counts[name]), np.array(reference.counts[name]))
        found.append(Change(name, distance, p_value, p_value < level and distance >= least_change))
    return found


def homogeneity(own: Counts, other: Counts) -> tuple[float, float]:
    """Return the total variation distance of two rows of counts, and the p-value of the chi-squared test.

    Bins in which a row is expected to have fewer than five are joined with their neighbours. Two rows that leave one
    bin, or one of which is empty, show no change: (0, 1).
    """
    from scipy.stats import chi2_contingency  # Of the driver alone; workers import modules of this room, too.

    width = max(len(own), len(other))
    table = np.array([np.pad(row, (0, width - len(row))) for row in (own, other)], dtype=np.float64)
    if not table.sum(axis=1).all():
        return 0.0, 1.0
    joined = _joined(table)
    if joined.shape[1] < 2:
        return 0.0, 1.0
    shares = table / table.sum(axis=1, keepdims=True)
    distance = float(np.abs(shares[0] - shares[1]).sum() / 2)
    return distance, float(chi2_contingency(joined, correction=joined.shape[1] == 2).pvalue)


def _joined(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a table (2, bins) whose small bins are joined with the next ones."""
    smaller_share = table.sum(axis=1).min() / table.sum()
    columns: list[NDArray[np.float64]] = []
    pending = np.zeros(2)
    for column in table.T:
        pending = pending + column
        if pending.sum() * smaller_share >= LEAST_EXPECTED:
            columns.append(pending)
            pending = np.zeros(2)
    if pending.any():
        columns = [*columns[:-1], columns[-1] + pending] if columns else [pending]
    return np.array(columns).T


class DriftProfiles:
    """The stored profiles of a table's nights, one for each day: ``<day>-<version>.json``.

    The version in the name spares a night the reading of all nights of earlier versions.
    """

    def __init__(self, warehouse: str, table: str) -> None:
        self._storage, self._folder = Storage(warehouse), f"drift/{table}"

    def write(self, profile: NightProfile) -> None:
        """Store the profile of a published night in place of an earlier one of its day. Raises StorageError."""
        name, before = f"{profile.score_date}-{profile.model_version}", self._names()
        self._storage.write(self._key(name), json.dumps(profile.to_json(), indent=1).encode())
        replaced = [one for one in before if one != name and _parted(one)[0] == profile.score_date]
        self._storage.delete(map(self._key, replaced))

    def reference(self, settings: DriftSettings, own: NightProfile) -> NightProfile | None:
        """Return what a night is compared with; None if there is no such night yet.

        That is the earliest day before it that the same version has scored, or the day of the settings.

        Raises:
            InputDataError: the day of the settings has no profile.
            StorageError: the warehouse cannot be read.
        """
        nights = {name: _parted(name) for name in self._names()}
        if settings.reference != "first":
            wanted = settings.reference.isoformat()
            found = next((self._read(name) for name, (day, _) in nights.items() if day == wanted), None)
            if found is None:
                days = [day for day, _ in nights.values()]
                raise InputDataError(
                    f"drift.reference: there is no profile of {wanted} in {self._storage.url(self._folder)}; take one "
                    f"of {', '.join(days[-3:]) or 'no day yet'}, or first"
                )
            return found
        version = str(own.model_version)
        earlier = [name for name, (day, other) in nights.items() if other == version and day < own.score_date]
        return next((one for one in map(self._read, earlier) if one is not None), None)

    def _names(self) -> list[str]:
        """Return the names of the profiles without their suffix, by day."""
        keys = (entry.key.rsplit("/", 1)[-1] for entry in self._storage.list(self._folder))
        return sorted(key.removesuffix(".json") for key in keys if key.endswith(".json"))

    def _key(self, name: str) -> str:
        return f"{self._folder}/{name}.json"

    def _read(self, name: str) -> NightProfile | None:
        return NightProfile.from_json(self._storage.read(self._key(name)))


def _parted(name: str) -> tuple[str, str]:
    """Return the day and the version in the name of a profile."""
    day, _, version = name.rpartition("-")
    return day, version


def describe(changes: Sequence[Change], reference: NightProfile) -> str:
    """Return the sentence of an alarm."""
    found = ", ".join(f"{one.statistic} (by {one.change:.0%})" for one in changes if one.has_changed)
    return f"the documents or their scores are not those of {reference.score_date} any more: {found}"
