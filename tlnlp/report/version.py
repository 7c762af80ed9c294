"""Write the report of one version in a registry: a page with pictures."""

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
    """The written report of a version.

    Attributes:
        version: the version.
        report: the figures that its bundle holds.
        page: the path of the page.
        pictures: the paths of the pictures.
    """

    version: ModelVersion
    report: Mapping[str, Any]
    page: Path
    pictures: tuple[Path, ...]

    def to_json(self) -> dict[str, Any]:
        """Return all figures, and the paths of the page and the pictures."""
        return {
            "model": self.version.name,
            "version": self.version.version,
            **self.report,
            "page": str(self.page),
            "pictures": [str(picture) for picture in self.pictures],
        }

    def facts(self) -> dict[str, Any]:
        """Return the summary that a terminal shows."""
        own, error = self.report.get("cross_validation") or {}, (self.report.get("calibration") or {}).get("ece_after")
        beside = self.report.get("baselines") or {}
        facts: dict[str, Any] = {
            "model": self.version.name,
            "version": self.version.version,
            "held_out": own.get("n"),
            "accuracy": words.accuracy(self.report),
            "macro_f1": words.macro_f1(self.report),
            "calibration_error": error,
            "as_good": [words.readable(name) for name, one in beside.items() if one.get("as_good")] or None,
            "suspected_faults": len(self.report.get("suspected_faults") or []),
            "page": str(self.page),
            "pictures": len(self.pictures),
        }
        return facts | {f"warning_{i}": warning for i, warning in enumerate(words.warnings(self.report), 1)}


def report_version(registry_uri: str, model: str, out: str | None) -> VersionReport:
    """Write the report of a version.

    Args:
        registry_uri: the registry.
        model: the version, as name, name@champion or name@VERSION.
        out: the folder of the report; None means ``report-<name>-<version>`` in the current folder.

    Raises:
        BundleError: the version was made without a report, or its files are altered.
        UsageError: ``model`` is not a valid name.
        NotFoundError: there is no such model or version.
        StorageError: the registry cannot be reached, or the folder cannot be written.
    """
    version = Registry(registry_uri).resolve(model)
    training = read_training(version)
    report = training.get("report")
    if not isinstance(report, dict) or not report:
        raise BundleError(
            f"{version} was made without a report: too few of its labels could be held out, or an older tlnlp made it: "
            "fine-tune again (tlnlp finetune), then ask for the report of the new version"
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
