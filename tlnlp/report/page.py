"""One self-contained page of a report: pictures inside it, figures in words, nothing fetched from anywhere."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from tlnlp.errors import StorageError
from tlnlp.report import charts, words

Report = Mapping[str, Any]

PAGE = "report.html"
TEMPLATE = "page.html.jinja"


def write_report(report: Report, head: Report, folder: Path) -> list[Path]:
    """Write the page and its pictures into ``folder``, which is made; returns the page's path, then the pictures'.

    ``report`` is what ``tlnlp.evaluate.findings`` makes, to which ``rounds`` and ``pool`` may be added; parts may be
    missing, and are then left out of the page. ``head`` says of what it is: ``model`` and ``version``, then anything
    else that has a name and a short value.

    Raises:
        StorageError: the folder cannot be written.
    """
    drawn = charts.draw(report)
    page = render(report, head, drawn)
    written = [folder / PAGE, *(folder / name for name in drawn)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in charts.PICTURES.keys() - drawn.keys():
            # Of an earlier report: beside this page it would pass for one of its pictures.
            (folder / name).unlink(missing_ok=True)
        for path, data in zip(written, [page.encode(), *drawn.values()], strict=True):
            path.write_bytes(data)
    except OSError as error:
        raise StorageError(f"{folder}: cannot be written ({error.strerror}); name another folder with --out") from error
    return written


def render(report: Report, head: Report, drawn: Mapping[str, bytes]) -> str:
    """The page as HTML; ``drawn`` holds PNG by file name. Whatever the report says is escaped."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(files(__package__).joinpath(TEMPLATE).read_text(encoding="utf-8"))
    beside = report.get("baselines") or {}
    return template.render(
        head=head,
        warnings=words.warnings(report),
        figures=_figures(report),
        accuracy=words.accuracy(report),
        macro_f1=words.macro_f1(report),
        calibration=words.calibration(report),
        curve=words.learning_curve(report),
        baselines=[told for name, one in beside.items() if (told := words.baseline(name, one))],
        confusions=words.confusions(report),
        classes=_classes(report),
        rounds=report.get("rounds") or [],
        pool=report.get("pool") or {},
        faults=report.get("suspected_faults") or [],
        faults_in_words=words.faults(report),
        sources={name.removesuffix(".png"): _data_uri(data) for name, data in drawn.items()},
    )


def _figures(report: Report) -> list[tuple[str, str, str]]:
    """Name, figure and interval of what stands large at the top."""
    own, found = report.get("cross_validation") or {}, []
    if own.get("accuracy") is not None:
        low, high = own["accuracy_interval"]
        found.append(("accuracy", f"{own['accuracy']:.1%}", f"{low:.1%} to {high:.1%}"))
    if own.get("macro_f1") is not None:
        low, high = own["macro_f1_interval"]
        found.append(("macro-F1", f"{own['macro_f1']:.3f}", f"{low:.3f} to {high:.3f}"))
    error = (report.get("calibration") or {}).get("ece_after")
    if error is not None:
        found.append(("calibration error", f"{error * 100:.1f} points", "0 is best"))
    if own.get("n") is not None:
        found.append(("held-out labels", f"{own['n']:,}", f"{len(own.get('per_class') or {})} classes"))
    return found


def _classes(report: Report) -> list[dict[str, Any]]:
    """Rows of the table of classes; ``alias`` is what a picture calls a class whose name it cannot write."""
    found = (report.get("cross_validation") or {}).get("per_class") or {}
    aliases = charts.aliases(list(found))
    return [{"label": label, "alias": aliases.get(label), **figures} for label, figures in found.items()]


def _data_uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
