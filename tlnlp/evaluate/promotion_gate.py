"""The promotion gate: a candidate takes the alias if it is not worse than the champion by more than a margin.

A paired test of non-inferiority on labels that neither version was trained on. With n labels, b that only the
champion gets right and c that only the candidate does, the difference in accuracy is (c - b) / n, with variance
((b + c) - (c - b)^2 / n) / n^2 (McNemar's setting; Newcombe 1998). The candidate passes if the lower end of the
one-sided interval lies above -margin. The smallest difference that so many labels can detect (power 80 %) is told too.
"""

from __future__ import annotations

import getpass
import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

from tlnlp.config import PromoteSettings
from tlnlp.errors import InputDataError, PromotionRefusedError, UsageError
from tlnlp.evaluate.evaluation import Reading, read_answers, read_held_out
from tlnlp.registry import Champion, ModelVersion, Registry
from tlnlp.registry.training import read_training
from tlnlp.runs.progress import say

POWER = 0.8
FIRST_VERSION = "the first version of this model becomes champion as it is"


@dataclass(frozen=True)
class Comparison:
    """``difference``: accuracy of candidate less champion; ``lower`` end of its interval; all in accuracy."""

    n: int
    candidate: float
    champion: float
    difference: float
    lower: float
    detectable: float


@dataclass(frozen=True)
class PromoteResult:
    """``decision`` is ``promoted``; a refusal is an error."""

    version: ModelVersion
    previous: int | None
    decision: str
    reasons: tuple[str, ...]
    comparison: Comparison | None

    def to_json(self) -> dict[str, Any]:
        return {
            "model": self.version.name,
            "version": self.version.version,
            "previous": self.previous,
            "decision": self.decision,
            "reasons": list(self.reasons),
            "comparison": vars(self.comparison) if self.comparison is not None else None,
        }


def promote(settings: PromoteSettings) -> PromoteResult:
    """Move the alias to the candidate (``name@VERSION``; ``name`` alone means its newest version), if the gate allows.

    Raises:
        PromotionRefusedError: the gate says no, labels were trained on, or another promotion came first.
        UsageError: there is a champion, and no labels to compare with; ``force`` without ``reason``.
        InputDataError, NotFoundError, BundleError, StorageError.
    """
    if settings.force and not settings.reason.strip():
        raise UsageError("a forced promotion needs a reason: --reason TEXT, or --set reason=TEXT")
    registry = Registry(settings.registry)
    version = _candidate(registry, settings.model)
    _refuse_unvalidated(settings, version)
    champion = registry.champion(version.name)
    comparison: Comparison | None = None
    if champion is None:
        reasons = [f"forced: {settings.reason}" if settings.force else FIRST_VERSION]
    elif settings.force:
        reasons = [f"forced: {settings.reason}"]
    else:
        comparison = _compare(settings, registry, version, champion)
        reasons = [_verdict(settings, comparison)]
    moved = registry.set_champion(
        version.name,
        version.version,
        expected=champion.tag if champion is not None else None,
        by=settings.by or getpass.getuser(),
        reason="; ".join(reasons),
        forced=settings.force,
    )
    say(f"{version} is champion")
    return PromoteResult(version, moved.previous, "promoted", tuple(reasons), comparison)


def _refuse_unvalidated(settings: PromoteSettings, version: ModelVersion) -> None:
    """A version that no label vouches for becomes champion only if someone takes that upon himself."""
    if not settings.force and not read_training(version).get("validated", True):
        raise PromotionRefusedError(
            f"{version} is unvalidated: it learned from class names and documents, and nothing measured it. Label some "
            "documents and fine-tune with them, or --force with a reason"
        )


def compare(candidate: Reading, champion: Reading, confidence: float) -> Comparison:
    """The paired comparison of two versions' answers on the same texts."""
    better, worse = candidate.correct & ~champion.correct, champion.correct & ~candidate.correct
    n, c, b = len(candidate.targets), int(better.sum()), int(worse.sum())
    difference = (c - b) / n
    # Two hits are added as if seen, one each way: with no disagreement at all the plain variance would be nothing.
    spread = math.sqrt((b + c + 2) - (c - b) ** 2 / n) / n
    z = NormalDist().inv_cdf(confidence)
    detectable = (z + NormalDist().inv_cdf(POWER)) * spread
    accuracy = float(candidate.correct.mean()), float(champion.correct.mean())
    return Comparison(n, *accuracy, difference, difference - z * spread, detectable)


def _candidate(registry: Registry, spec: str) -> ModelVersion:
    if "@" in spec:
        return registry.resolve(spec)
    versions = registry.versions(spec)
    if not versions:
        return registry.resolve(spec)  # Says what there is.
    return registry.resolve(f"{spec}@{versions[-1].version}")


def _compare(settings: PromoteSettings, registry: Registry, version: ModelVersion, champion: Champion) -> Comparison:
    if version.version == champion.version:
        raise PromotionRefusedError(f"{version} is the champion already; nothing was changed")
    if not settings.labels:
        raise UsageError(
            f"{version.name} has a champion (version {champion.version}): give labels that neither version was trained "
            "on with --set labels=..., or --force with a reason"
        )
    labelled = read_held_out(settings)
    ruling = registry.resolve(f"{version.name}@{champion.version}")
    readings = [read_answers(registry, each, labelled, settings.threads) for each in (version, ruling)]
    if seen := [f"{each.seen} by {each.version}" for each in readings if each.seen]:
        raise PromotionRefusedError(
            f"{labelled.uri}: of {len(labelled.examples)} texts, {' and '.join(seen)} were trained on; they would "
            "flatter that version. Give labels that neither has seen"
        )
    if len(labelled.examples) < settings.min_labels:
        raise InputDataError(
            f"{labelled.uri}: {len(labelled.examples)} sound labels, fewer than min_labels={settings.min_labels}"
        )
    if readings[0].classes != readings[1].classes:
        raise PromotionRefusedError(
            f"{version} and the champion know different classes; compare them yourself, then --force with a reason"
        )
    return compare(readings[0], readings[1], settings.confidence)


def _verdict(settings: PromoteSettings, found: Comparison) -> str:
    told = (
        f"candidate {found.candidate:.1%}, champion {found.champion:.1%} on {found.n} labels; the difference is "
        f"{found.difference:+.1%}, at least {found.lower:+.1%} with {settings.confidence:.0%} confidence, and may "
        f"be a loss of {settings.margin:.1%} at worst; so many labels detect a difference of "
        f"{found.detectable:.1%} or more"
    )
    if found.lower < -settings.margin:
        raise PromotionRefusedError(f"refused: {told}. Label more, raise the margin, or --force with a reason")
    return told
