"""Render a report as one self-contained HTML page: it embeds the pictures and loads nothing else."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from tlnlp.errors import StorageError
from tlnlp.report import charts, sentences
from tlnlp.report.label_texts import LabelText
from tlnlp.report.scoring import scoring

Report = Mapping[str, Any]

PAGE = "report.html"
TEMPLATE = "page.html.jinja"


def write_report(report: Report, head: Report, folder: Path, texts: Sequence[LabelText] | None = None) -> list[Path]:
    """Write the page and its pictures into a folder, and create the folder if it does not exist.

    Args:
        report: the figures from ``tlnlp.evaluate.report_figures``, with ``rounds`` and ``pool`` where they exist. The
            page leaves out what is missing.
        head: the origin of the report: ``model``, ``version``, and any other short values by name.
        folder: where the files are written.
        texts: the texts of the suspected labels, in their order; None leaves them out.

    Returns:
        The path of the page, then the paths of the pictures.

    Raises:
        StorageError: the folder cannot be written.
    """
    drawn = charts.draw(report)
    page = render(report, head, drawn, texts)
    written = [folder / PAGE, *(folder / name for name in drawn)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in charts.PICTURES.keys() - drawn.keys():
            # A picture of an earlier report in this folder would seem to belong to the new page.
            (folder / name).unlink(missing_ok=True)
        for path, data in zip(written, [page.encode(), *drawn.values()], strict=True):
            path.write_bytes(data)
    except OSError as error:
        raise StorageError(
            f"{folder}: the report cannot be written ({error.strerror}): name another folder with --out"
        ) from error
    return written


def render(report: Report, head: Report, drawn: Mapping[str, bytes], texts: Sequence[LabelText] | None = None) -> str:
    """Return the page as HTML, with all values and texts escaped. ``drawn``: PNG data by file name."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(files(__package__).joinpath(TEMPLATE).read_text(encoding="utf-8"))
    beside = report.get("baselines") or {}
    return template.render(
        style=page_style(),
        head=head,
        warnings=sentences.warnings(report),
        figures=_figures(report),
        accuracy=sentences.accuracy(report),
        macro_f1=sentences.macro_f1(report),
        calibration=sentences.calibration(report),
        curve=sentences.learning_curve(report),
        baselines=[sentence for name, one in beside.items() if (sentence := sentences.baseline(name, one))],
        confusions=sentences.confusions(report),
        classes=_classes(report),
        scoring=scoring(report),
        rounds=report.get("rounds") or [],
        pool=report.get("pool") or {},
        fault_files=_fault_files(report, texts),
        faults_sentence=sentences.faults(report),
        sources={name.removesuffix(".png"): _data_uri(data) for name, data in drawn.items()},
    )


def page_style() -> str:
    """Return the style sheet that the report shares with the pages of ``tlnlp.explore``."""
    return files(__package__).joinpath("style.css").read_text(encoding="utf-8")


def _figures(report: Report) -> list[tuple[str, str, str]]:
    """Return name, value and range of the large figures at the top of the page."""
    own, figures = report.get("cross_validation") or {}, []
    if own.get("accuracy") is not None:
        low, high = own["accuracy_interval"]
        figures.append(("accuracy", f"{own['accuracy']:.1%}", f"{low:.1%} to {high:.1%}"))
    if own.get("macro_f1") is not None:
        low, high = own["macro_f1_interval"]
        figures.append(("macro-F1", f"{own['macro_f1']:.3f}", f"{low:.3f} to {high:.3f}"))
    error = (report.get("calibration") or {}).get("ece_after")
    if error is not None:
        figures.append(("calibration error", f"{error * 100:.1f} points", "0 is best"))
    if own.get("n") is not None:
        figures.append(("held-out labels", f"{own['n']:,}", f"{len(own.get('per_class') or {})} classes"))
    return figures


def _classes(report: Report) -> list[dict[str, Any]]:
    """Return the rows of the table of classes. ``alias``: the name in pictures, if the label cannot be drawn there."""
    per_class = (report.get("cross_validation") or {}).get("per_class") or {}
    aliases = charts.aliases(list(per_class))
    return [{"label": label, "alias": aliases.get(label), **figures} for label, figures in per_class.items()]


def _fault_files(report: Report, texts: Sequence[LabelText] | None) -> list[dict[str, Any]]:
    """Return the suspected labels by file, each file with what its rows are; within a file in their order."""
    by_file: dict[str, list[dict[str, Any]]] = {}
    suspects: Sequence[Mapping[str, Any]] = report.get("suspected_faults") or []
    shown: Sequence[LabelText | None] = [None] * len(suspects) if texts is None else texts
    for fault, read in zip(suspects, shown, strict=True):
        by_file.setdefault(str(fault["file"]), []).append({**fault, "read": read})
    return [{"file": file, "unit": sentences.row_unit(file), "labels": labels} for file, labels in by_file.items()]


def _data_uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
