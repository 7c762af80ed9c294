"""The promotion gate: make a candidate the champion if it is not worse than the champion by more than a margin.

The gate is a paired test of non-inferiority on labels that neither version was trained on. Let n be the number of
labels, b the number that only the champion predicts correctly, and c the number that only the candidate does. The
difference in accuracy is (c - b) / n, with variance ((b + c) - (c - b)^2 / n) / n^2. The candidate passes if the lower
end of the one-sided interval lies above -margin. The result also states the smallest difference that this number of
labels detects with a power of 80%.

Source: Newcombe 1998 (McNemar's setting).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

from tlnlp.config import PromoteSettings
from tlnlp.data.label_names import label_name
from tlnlp.data.labels import LabelledSet
from tlnlp.errors import PromotionRefusedError, UsageError, counted
from tlnlp.evaluate.evaluation import VersionPredictions, predict_version, read_evaluation_labels
from tlnlp.evaluate.intervals import paired_difference
from tlnlp.registry import Champion, ModelVersion, Registry
from tlnlp.registry.held_out import held_out_uri
from tlnlp.registry.training import read_training
from tlnlp.runs.environment import user_name
from tlnlp.runs.progress import say

POWER = 0.8
OTHER_LABELS = (
    "give labels of other documents with --set labels=, or use --force with a reason; where each version is trained "
    "with --set held_out_share=0.2, the first one too, the same labels are set aside for all of them"
)
FIRST_VERSION = "the first version of this model becomes champion without a comparison"


@dataclass(frozen=True)
class Comparison:
    """The paired comparison of two versions on the same labels. All figures but ``n`` are shares from 0 to 1.

    Attributes:
        n: the number of labels.
        candidate: the accuracy of the candidate.
        champion: the accuracy of the champion.
        difference: the accuracy of the candidate minus that of the champion.
        lower: the lower end of the one-sided interval of the difference.
        detectable: the smallest difference that is detected with a power of 80%.
    """

    n: int
    candidate: float
    champion: float
    difference: float
    lower: float
    detectable: float


@dataclass(frozen=True)
class PromoteResult:
    """The result of a promotion. A refusal raises PromotionRefusedError instead.

    Attributes:
        version: the new champion.
        previous: the number of the champion before; None where there was none.
        decision: ``promoted``, or ``unchanged`` where the version is the champion already.
        reasons: why the gate, or a person, allowed the promotion.
        comparison: the comparison with the champion; None for a first version and for a forced promotion.
    """

    version: ModelVersion
    previous: int | None
    decision: str
    reasons: tuple[str, ...]
    comparison: Comparison | None

    def to_json(self) -> dict[str, Any]:
        """Return the result as a dict of JSON types."""
        return {
            "model": self.version.name,
            "version": self.version.version,
            "previous": self.previous,
            "decision": self.decision,
            "reasons": list(self.reasons),
            "comparison": vars(self.comparison) if self.comparison is not None else None,
        }


def promote(settings: PromoteSettings) -> PromoteResult:
    """Make the candidate the champion if the gate allows it, or if ``force`` is set.

    The candidate is ``name@VERSION``; ``name`` alone means its newest version.

    Raises:
        PromotionRefusedError: the gate refuses, a version was trained on the labels, they are too few, the candidate is
            the champion or is unvalidated, the classes differ, or another promotion came first.
        UsageError: there is a champion but no labels for a comparison, given or set aside, or ``force`` is set without
            ``reason``.
        InputDataError: the labels cannot be read, or hold a class that a version does not predict.
        LabelFaultsError: the labels have faults, and ``on_fault`` does not skip them.
        ModelNotFoundError: there is no such model or version.
        BundleError: a bundle is incomplete or altered.
        StorageError: the registry or the labels cannot be reached.
    """
    if settings.force and not settings.reason.strip():
        raise UsageError("a forced promotion needs a reason: --reason TEXT, or --set reason=TEXT")
    registry = Registry(settings.registry)
    version = _candidate(registry, settings.model)
    champion = registry.champion(version.name)
    if champion is not None and champion.version == version.version:
        say(f"{version} is the champion already: nothing was changed")
        return PromoteResult(version, champion.version, "unchanged", ("it is the champion already",), None)
    _refuse_unvalidated(settings, version)
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
        by=settings.by or user_name(),
        reason="; ".join(reasons),
        forced=settings.force,
    )
    say(f"{version} is now the champion")
    return PromoteResult(version, moved.previous, "promoted", tuple(reasons), comparison)


def _refuse_unvalidated(settings: PromoteSettings, version: ModelVersion) -> None:
    """Refuse a version whose accuracy was never measured, unless a person forces the promotion."""
    if not settings.force and not read_training(version).get("validated", True):
        raise PromotionRefusedError(
            f"{version} is unvalidated: it was trained on class names and documents, and its accuracy is unknown: "
            "label some documents and fine-tune with them, or use --force with a reason"
        )


def compare(candidate: VersionPredictions, champion: VersionPredictions, confidence: float) -> Comparison:
    """Compare the predictions of two versions on the same texts.

    Args:
        candidate: the predictions of the candidate.
        champion: the predictions of the champion.
        confidence: the confidence of the one-sided interval, from 0 to 1.
    """
    difference, standard_error = paired_difference(candidate.correct, champion.correct)
    z = NormalDist().inv_cdf(confidence)
    detectable = (z + NormalDist().inv_cdf(POWER)) * standard_error
    accuracy = float(candidate.correct.mean()), float(champion.correct.mean())
    return Comparison(len(candidate.targets), *accuracy, difference, difference - z * standard_error, detectable)


def _candidate(registry: Registry, spec: str) -> ModelVersion:
    if "@" in spec:
        return registry.resolve(spec)
    versions = registry.versions(spec)
    if not versions:
        return registry.resolve(spec)  # Raises ModelNotFoundError, which lists the models.
    return registry.resolve(f"{spec}@{versions[-1].version}")


def _compare(settings: PromoteSettings, registry: Registry, version: ModelVersion, champion: Champion) -> Comparison:
    versions = version, registry.resolve(f"{version.name}@{champion.version}")
    labelled = read_evaluation_labels(_with_labels(settings, registry, version, champion), versions)
    both = [predict_version(registry, each, labelled, settings.threads) for each in versions]
    if any(each.trained_on for each in both):
        raise PromotionRefusedError(_seen(labelled, both))
    if len(labelled.examples) < settings.min_labels:
        raise PromotionRefusedError(
            f"{labelled.uri}: {counted(len(labelled.examples), 'sound label')}, "
            f"fewer than min_labels={settings.min_labels}: too few for a comparison: add labels"
        )
    if len({tuple(map(label_name, each.classes)) for each in both}) > 1:
        raise PromotionRefusedError(
            f"{version} and the champion have different classes: the gate cannot compare them: compare them yourself, "
            "then use --force with a reason"
        )
    return compare(both[0], both[1], settings.confidence)


def _with_labels(
    settings: PromoteSettings, registry: Registry, version: ModelVersion, champion: Champion
) -> PromoteSettings:
    """Return settings with labels: the given ones, else those that were set aside when the candidate was trained."""
    if settings.labels:
        return settings
    uri = held_out_uri(registry, version)
    if uri is None:
        raise UsageError(
            f"{version.name} has a champion (version {champion.version}): the comparison needs labels that neither "
            "version was trained on: give them with --set labels=..., or use --force with a reason; "
            "tlnlp finetune --set held_out_share=0.2 sets such labels aside"
        )
    say(f"labels: those that were set aside when {version} was trained ({uri})")
    return settings.model_copy(update={"labels": uri, "format": "json", "encoding": "utf-8"})


def _seen(labelled: LabelledSet, versions: Sequence[VersionPredictions]) -> str:
    """Return why labels that a version learned from are refused, in one sentence."""
    seen = {str(each.version): each.trained_on for each in versions if each.trained_on}
    counts, total = list(dict.fromkeys(seen.values())), len(labelled.examples)
    share = f"all {total}" if counts == [total] else f"{' and '.join(map(str, counts))} of the {total}"
    return (
        f"{labelled.uri}: {' and '.join(seen)} learned from {share} labels, so these cannot show which version is "
        f"better: {OTHER_LABELS}"
    )


def _verdict(settings: PromoteSettings, comparison: Comparison) -> str:
    """Return the reason why the candidate passes. Raises PromotionRefusedError if it does not."""
    reason = (
        f"candidate {comparison.candidate:.1%}, champion {comparison.champion:.1%} on {comparison.n} labels; the "
        f"difference is {comparison.difference:+.1%}, at least {comparison.lower:+.1%} with {settings.confidence:.0%} "
        f"confidence; the gate allows a loss of at most {settings.margin:.1%}; this number of labels can detect a "
        f"difference of {comparison.detectable:.1%} or more"
    )
    if comparison.lower < -settings.margin:
        raise PromotionRefusedError(
            f"refused: {reason}: label more documents, raise the margin, or use --force with a reason"
        )
    return reason
