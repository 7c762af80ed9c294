"""Write the report of one version in a registry: a page with pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlnlp.data.csv_records import CsvDialect
from tlnlp.data.labels import LabelContract
from tlnlp.errors import BundleError, counted
from tlnlp.registry import ModelVersion, Registry
from tlnlp.registry.training import read_training
from tlnlp.report import sentences
from tlnlp.report.label_texts import LabelText, read_texts
from tlnlp.report.page import write_report


@dataclass(frozen=True)
class VersionReport:
    """The written report of a version.

    Attributes:
        version: the version.
        report: the figures that its bundle holds.
        page: the path of the page.
        pictures: the paths of the pictures.
        texts: the texts of the suspected labels, in their order; None where they were not asked for.
    """

    version: ModelVersion
    report: Mapping[str, Any]
    page: Path
    pictures: tuple[Path, ...]
    texts: tuple[LabelText, ...] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return all figures, and the paths of the page and the pictures. It holds no text of a label."""
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
        facts: dict[str, Any] = {
            "model": self.version.name,
            "version": self.version.version,
            "held_out": own.get("n"),
            "accuracy": sentences.accuracy(self.report),
            "macro_f1": sentences.macro_f1(self.report),
            "calibration_error": error,
            "better_than": sentences.ranked(self.report, "better") or None,
            "worse_than": sentences.ranked(self.report, "worse") or None,
            "cannot_be_distinguished_from": sentences.ranked(self.report, "undecided") or None,
            "more_labels": sentences.learning_curve(self.report),
            "labels_to_check": sentences.faults(self.report),
            "texts": self._texts_shown(),
            "page": str(self.page),
            "pictures": len(self.pictures),
        }
        return facts | {f"warning_{i}": warning for i, warning in enumerate(sentences.warnings(self.report), 1)}

    def _texts_shown(self) -> str | None:
        if self.texts is None:
            return None
        shown = sum(one.text is not None for one in self.texts)
        return f"the page shows {shown:,} of {counted(len(self.texts), 'text')}; it says why others are missing"


def report_version(registry_uri: str, model: str, out: str | None, *, with_texts: bool = False) -> VersionReport:
    """Write the report of a version.

    Args:
        registry_uri: the registry.
        model: the version, as name, name@champion or name@VERSION.
        out: the folder of the report; None means ``report-<name>-<version>`` in the current folder.
        with_texts: whether the page shows the texts of suspected labels. They are read again from the labelled set.

    Raises:
        BundleError: the version was made without a report, or its files are altered.
        UsageError: ``model`` is not a valid name.
        ModelNotFoundError: there is no such model or version.
        StorageError: the registry cannot be reached, or the folder cannot be written.
    """
    registry = Registry(registry_uri)
    version = registry.resolve(model)
    training = read_training(version)
    report = training.get("report")
    if not isinstance(report, dict) or not report:
        raise BundleError(
            f"{version} was made without a report: too few of its labels could be held out, or an older tlnlp made it: "
            "fine-tune again (tlnlp finetune), then ask for the report of the new version"
        )
    folder = Path(out) if out else Path(f"report-{version.name}-{version.version}")
    try:
        written = _write(registry, version, training, folder, with_texts)
        written.facts()
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise BundleError(
            f"{version}: training.json holds a report that cannot be shown ({type(error).__name__}); "
            "it was altered or made by another tlnlp: use another version"
        ) from error
    return written


def _write(
    registry: Registry, version: ModelVersion, training: Mapping[str, Any], folder: Path, with_texts: bool
) -> VersionReport:
    """Write the page and its pictures, with the texts of suspected labels if they are asked for."""
    counts, report = training.get("counts") or {}, training["report"]
    head = {
        "model": version.name,
        "version": version.version,
        "address": version.uri,
        "run": training.get("run_id"),
        "labels": sum(counts.values()) or None,
        "seed": training.get("seed"),
    }
    texts = _texts(registry, version, training, report) if with_texts else None
    page, *pictures = write_report(report, head, folder, texts)
    return VersionReport(version, report, page, tuple(pictures), None if texts is None else tuple(texts))


def _texts(
    registry: Registry, version: ModelVersion, training: Mapping[str, Any], report: Mapping[str, Any]
) -> list[LabelText]:
    """Read the texts of the suspected labels, in the format that the ledger of the fine-tuning run states."""
    runs = [run for run in registry.ledgers(version.name) if run.get("run_id") == training.get("run_id")]
    settings: Mapping[str, Any] = (runs[0].get("config") if runs else None) or {}
    # A ledger of an older tlnlp lacks some of the keys.
    given: dict[str, Any] = {key: settings[key] for key in ("text_column", "format", "encoding") if key in settings}
    contract = LabelContract(**given, csv=CsvDialect(**settings.get("csv") or {}))
    return read_texts(report.get("suspected_faults") or [], contract, training.get("text_sha256") or [])
