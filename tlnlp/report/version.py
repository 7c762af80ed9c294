"""The report of one version in a registry: found, verified, written as a page with pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlnlp.errors import BundleError
from tlnlp.registry import ModelVersion, Registry
from tlnlp.registry.training import read_training
from tlnlp.report import words
from tlnlp.report.page import write_report


@dataclass(frozen=True)
class VersionReport:
    """``report`` as the bundle keeps it; ``page`` and ``pictures`` as files of this machine."""

    version: ModelVersion
    report: Mapping[str, Any]
    page: Path
    pictures: tuple[Path, ...]

    def to_json(self) -> dict[str, Any]:
        """The whole report, and where its page is."""
        return {
            "model": self.version.name,
            "version": self.version.version,
            **self.report,
            "page": str(self.page),
            "pictures": [str(picture) for picture in self.pictures],
        }

    def facts(self) -> dict[str, Any]:
        """What a terminal shows."""
        own, error = self.report.get("cross_validation") or {}, (self.report.get("calibration") or {}).get("ece_after")
        beside = self.report.get("baselines") or {}
        facts: dict[str, Any] = {
            "model": self.version.name,
            "version": self.version.version,
            "held_out": own.get("n"),
            "accuracy": words.accuracy(self.report),
            "macro_f1": words.macro_f1(self.report),
            "calibration_error": error,
            "as_good": [words.spoken(name) for name, one in beside.items() if one.get("as_good")] or None,
            "suspected_faults": len(self.report.get("suspected_faults") or []),
            "page": str(self.page),
            "pictures": len(self.pictures),
        }
        return facts | {f"warning_{i}": told for i, told in enumerate(words.warnings(self.report), 1)}


def report_version(registry_uri: str, model: str, out: str | None) -> VersionReport:
    """Write the report of ``model`` (name, name@champion, name@VERSION) into ``out``, or ``report-<name>-<version>``.

    Raises:
        BundleError: the version was made without a report, or is altered.
        UsageError, NotFoundError, StorageError.
    """
    version = Registry(registry_uri).resolve(model)
    training = read_training(version)
    report = training.get("report")
    if not isinstance(report, dict) or not report:
        raise BundleError(
            f"{version} was made without a report: its labels were too few to hold some out, or an older tlnlp made "
            "it. Fine-tune again (tlnlp finetune) and ask for the report of the new version"
        )
    counts = training.get("counts") or {}
    head = {
        "model": version.name,
        "version": version.version,
        "address": version.uri,
        "run": training.get("run_id"),
        "labels": sum(counts.values()) or None,
        "seed": training.get("seed"),
    }
    folder = Path(out) if out else Path(f"report-{version.name}-{version.version}")
    page, *pictures = write_report(report, head, folder)
    return VersionReport(version, report, page, tuple(pictures))
