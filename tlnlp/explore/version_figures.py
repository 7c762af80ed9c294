"""The versions of a model: what the report of one says, and how two compare on labels that neither learned from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tlnlp.config import EvaluateSettings, ExploreSettings
from tlnlp.errors import InputDataError
from tlnlp.evaluate.intervals import paired_interval, wilson
from tlnlp.registry import ModelVersion, Registry
from tlnlp.registry.held_out import held_out_uri
from tlnlp.registry.training import read_training
from tlnlp.report import sentences
from tlnlp.report.scoring import scoring


@dataclass(frozen=True)
class Measured:
    """The figures of a version on labels; ``low`` and ``high`` are the ends of the 95% interval of its accuracy."""

    version: int
    accuracy: float
    low: float
    high: float
    macro_f1: float
    ece: float


@dataclass(frozen=True)
class Compared:
    """Two versions on the same labels.

    Fields:
        n: the number of labels.
        both: the figures of both versions.
        difference: the accuracy of the first minus that of the second, with its 95% interval from ``low`` to ``high``.
    """

    n: int
    both: tuple[Measured, Measured]
    difference: float
    low: float
    high: float


def version_report(version: ModelVersion) -> dict[str, Any]:
    """Return what the page shows of a version's report: sentences and tables. Raises BundleError, StorageError."""
    training = read_training(version)
    found = training.get("report")
    report: Mapping[str, Any] = found if isinstance(found, dict) else {}
    counts = training.get("counts")
    return {
        "warnings": sentences.warnings(report),
        "sentences": [
            one
            for one in (
                sentences.accuracy(report),
                sentences.macro_f1(report),
                sentences.calibration(report),
                sentences.learning_curve(report),
                sentences.faults(report),
            )
            if one
        ],
        "baselines": [
            sentence
            for name, one in (report.get("baselines") or {}).items()
            if (sentence := sentences.baseline(name, one))
        ],
        "classes": [
            (name, [one[figure] for figure in ("precision", "recall", "f1", "n")])
            for name, one in ((report.get("cross_validation") or {}).get("per_class") or {}).items()
        ],
        "confusions": sentences.confusions(report),
        "bins": [
            (one["confidence"], one["accuracy"], one["n"])
            for one in (report.get("calibration") or {}).get("bins_after") or []
        ],
        "scoring": scoring(report),
        "labels": sum(counts.values()) if isinstance(counts, dict) else None,
        "run": training.get("run_id"),
        "exists": bool(report),
    }


def compare_versions(settings: ExploreSettings, one: ModelVersion, other: ModelVersion) -> Compared:
    """Compare two versions on the labels of the settings, or those that were set aside when the later one was trained.

    Raises:
        InputDataError: there are no such labels, a version learned from some of them, or the classes differ.
        BundleError: a bundle is incomplete or altered.
        StorageError: the registry cannot be reached.
    """
    # Imported late: only a comparison needs the libraries that run a model.
    from tlnlp.evaluate.evaluation import predict_version, read_evaluation_labels

    later = max(one, other, key=lambda version: version.version)
    registry = Registry(settings.registry)
    uri = settings.held_out or held_out_uri(registry, later)
    if uri is None:
        raise InputDataError(
            f"no labels were set aside when {later} was trained, so nothing can be compared; name some that neither "
            "version learned from: tlnlp explore --set held_out=URI, or set some aside for each version: "
            "tlnlp finetune --set held_out_share=0.2"
        )
    own = {"text_column": settings.text_column, "label_column": settings.label_column} if settings.held_out else {}
    asked = EvaluateSettings(labels=uri, registry=settings.registry, model=str(later), **own)
    labelled = read_evaluation_labels(asked, [one, other])
    both = [predict_version(registry, version, labelled, asked.threads) for version in (one, other)]
    for each in both:
        if each.trained_on:
            raise InputDataError(
                f"{each.version} learned from {each.trained_on} of the {len(each.targets)} labels of {uri}, so they "
                "cannot show which version is better; name others, or train each version with the same held_out_share "
                "and seed"
            )
    difference, low, high = paired_interval(both[0].correct, both[1].correct)
    measured = []
    for each in both:
        figures = each.figures
        interval = wilson(int(each.correct.sum()), figures.n)
        measured.append(Measured(each.version.version, figures.accuracy, *interval, figures.macro_f1, figures.ece))
    return Compared(len(labelled.examples), (measured[0], measured[1]), difference, low, high)
