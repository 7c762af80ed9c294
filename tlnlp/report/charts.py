"""Draw the pictures of a report as PNG.

Each picture has a Figure of its own, so matplotlib's global state is neither read nor changed. A picture is None where
the report lacks its data.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from tlnlp.report import sentences

Report = Mapping[str, Any]

DPI = 160
WIDTH_IN = 7.2
# Colours that people with most kinds of colour blindness can distinguish (Okabe and Ito 2008).
BLUE, ORANGE, INK, FAINT = "#0072B2", "#D55E00", "#222222", "#d9d9d9"
MAX_NAME = 22
# With more classes than these, the confusion matrix has no numbers in its cells, and no class names at its sides.
NUMBERED_CLASSES, NAMED_CLASSES = 16, 50
MAX_BARS = 40


def draw(report: Report) -> dict[str, bytes]:
    """Return the PNG data of each picture that the report has data for, by file name (``confusion.png`` ...)."""
    drawn = {name: picture(report) for name, picture in PICTURES.items()}
    return {name: _png(figure) for name, figure in drawn.items() if figure is not None}


def confusion(report: Report) -> Figure | None:
    """Draw the confusion matrix: true classes in rows. Shade: share of the row. Number: texts."""
    table = (report.get("cross_validation") or {}).get("confusion")
    if not table:
        return None
    classes = list(table)
    counts = np.asarray([[table[true].get(label) or 0 for label in classes] for true in classes], dtype=float)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    k = len(classes)
    side = min(11.0, 3.4 + 0.42 * k)
    figure, axes = _figure(side + 1.0, side)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if k <= NUMBERED_CLASSES:
        for (i, j), count in np.ndenumerate(counts):
            if count:
                axes.text(j, i, f"{count:.0f}", ha="center", va="center", color="white" if shares[i, j] > 0.5 else INK)
    names = tick_names(classes) if k <= NAMED_CLASSES else []
    axes.set_xticks(range(len(names)), names, rotation=90 if k > 4 else 0, fontsize=_font_size(k))
    axes.set_yticks(range(len(names)), names, fontsize=_font_size(k))
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set(xlabel="predicted class", ylabel="true class")
    bar = figure.colorbar(image, ax=axes, shrink=0.6, label="share of the true class")
    _percent(bar.ax, "y")
    bar.outline.set_visible(False)
    return figure


def per_class(report: Report) -> Figure | None:
    """Draw the F1 and the number of texts of each class, the lowest F1 first."""
    figures = (report.get("cross_validation") or {}).get("per_class")
    if not figures:
        return None
    names = dict(zip(figures, tick_names(list(figures)), strict=True))
    known = sorted((item for item in figures.items() if item[1]["f1"] is not None), key=lambda item: item[1]["f1"])
    shown = known[:MAX_BARS]
    if not shown:
        return None
    figure, axes = _figure(WIDTH_IN, 1.1 + 0.27 * len(shown))
    values = [one["f1"] for _, one in shown]
    axes.barh(range(len(shown)), values, height=0.62, color=BLUE)
    for place, (_, one) in enumerate(shown):
        axes.text(one["f1"] + 0.012, place, f"{one['f1']:.2f}  (n = {one['n']})", va="center", fontsize=8.5)
    axes.set_yticks(range(len(shown)), [names[label] for label, _ in shown], fontsize=9)
    left_out = f" (the lowest {len(shown)} of {len(known)} classes)" if len(shown) < len(known) else ""
    axes.set(xlim=(0, 1.2), ylim=(len(shown) - 0.4, -0.6), xlabel=f"F1{left_out}")
    axes.set_xticks([0, 0.2, 0.4, 0.6, 0.8, 1])
    return figure


def calibration(report: Report) -> Figure | None:
    """Draw the reliability diagram: accuracy by confidence in each bin, with a dot sized by the texts of the bin."""
    figures = report.get("calibration") or {}
    before, after = _dots(figures.get("bins_before")), _dots(figures.get("bins_after"))
    if not len(before) and not len(after):
        return None
    figure, axes = _figure(5.2, 5.6)
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1.5, zorder=1, label="perfect calibration")
    for points, colour, marker, name, ece in (
        (before, ORANGE, "s", "before", figures.get("ece_before")),
        (after, BLUE, "o", "after", figures.get("ece_after")),
    ):
        if len(points):
            error = f" (calibration error {ece * 100:.1f} points)" if ece is not None else ""
            size = 15 + 220 * points[:, 2] / points[:, 2].sum()
            axes.plot(points[:, 0], points[:, 1], color=colour, linewidth=1, alpha=0.5)
            axes.scatter(points[:, 0], points[:, 1], s=size, color=colour, marker=marker, alpha=0.75, linewidths=0)
            axes.plot([], [], color=colour, marker=marker, linewidth=1, label=f"{name} calibration{error}")
    axes.set(xlim=(0, 1.03), ylim=(-0.03, 1.03), aspect="equal", xlabel="confidence", ylabel="accuracy")
    axes.grid(color=FAINT, linewidth=0.5)
    figure.legend(frameon=False, loc="outside lower center", fontsize=9)
    _percent(axes, "x", "y")
    return figure


def learning_curve(report: Report) -> Figure | None:
    """Draw the accuracy by number of labels with its intervals, and what more labels may bring."""
    curve = report.get("learning_curve") or {}
    points = [point for point in curve.get("points") or [] if point["accuracy"] is not None]
    if not points:
        return None
    figure, axes = _figure(WIDTH_IN, 3.9)
    labels, accuracy, low, high = ([point[key] for point in points] for key in ("labels", "accuracy", "low", "high"))
    axes.errorbar(
        labels,
        accuracy,
        _error_bars(accuracy, low, high),
        color=BLUE,
        marker="o",
        capsize=3,
        label="measured, with 95% interval",
    )
    more, last = curve.get("more"), accuracy[-1]
    if more:
        # The gain is for labels beyond all that exist. The last point had fewer, so the line is flat up to all labels.
        now = max(labels[-1], (report.get("cross_validation") or {}).get("n") or 0)
        ahead = [labels[-1], now, now + more["labels"]]
        gain, least, most = ([last, last, min(1.0, last + more[key])] for key in ("gain", "low", "high"))
        if sentences.tells(more):
            axes.plot(ahead, gain, color=ORANGE, linestyle="--", label=f"expected from {more['labels']} more labels")
        reach = f"95% interval with {more['labels']} more labels"
        axes.fill_between(ahead, least, most, color=ORANGE, alpha=0.2, linewidth=0, label=reach)
    axes.set(xlabel="labels used", ylabel="accuracy")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="y", color=FAINT, linewidth=0.5)
    axes.legend(frameon=False, loc="lower right")
    _percent(axes, "y")
    return figure


def baselines(report: Report) -> Figure | None:
    """Draw the accuracy of the model and of the simpler models, with intervals."""
    own, others = report.get("cross_validation") or {}, report.get("baselines") or {}
    if not others or own.get("accuracy") is None:
        return None
    rows = [("this model", own), *((name.replace("_", " "), other) for name, other in others.items())]
    rows = [(name, one) for name, one in rows if one.get("accuracy") is not None]
    figure, axes = _figure(WIDTH_IN, 0.95 + 0.5 * len(rows))
    for place, (_, one) in enumerate(rows):
        low, high = one["accuracy_interval"]
        colour = BLUE if place == 0 else "#777777" if sentences.verdict(one) == "better" else ORANGE
        reach = _error_bars([one["accuracy"]], [low], [high])
        axes.errorbar(one["accuracy"], place, xerr=reach, color=colour, marker="o", markersize=7, capsize=4)
        axes.text(one["accuracy"], place - 0.2, f"{one['accuracy']:.1%}", ha="center", fontsize=9, color=colour)
    axes.axvline(own["accuracy"], color=FAINT, linewidth=1, zorder=0)
    ranks = {"undecided": " (cannot be distinguished)", "worse": " (better)", "better": ""}
    ticks = [
        short_name(name) + (ranks[sentences.verdict(one)] if place else "") for place, (name, one) in enumerate(rows)
    ]
    axes.set_yticks(range(len(rows)), ticks)
    axes.set(ylim=(len(rows) - 0.5, -0.65), xlabel="accuracy, with 95% interval")
    _percent(axes, "x")
    return figure


def rounds(report: Report) -> Figure | None:
    """Draw the expected accuracy on the documents in each round, and the duration of the round."""
    shown = [one for one in report.get("rounds") or [] if one.get("expected") is not None]
    if not shown:
        return None
    figure = Figure(figsize=(WIDTH_IN, 1.1 + 0.5 * len(shown)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=[3, 2])
    places, values = range(len(shown)), [one["expected"] for one in shown]
    left.plot(values, places, color=BLUE, marker="o")
    for place, value in enumerate(values):
        left.annotate(f"{value:.1%}", (value, place), (0, 7), textcoords="offset points", ha="center", fontsize=8.5)
    names = [
        textwrap.fill(f"{one.get('round', '')}. {short_name(str(one.get('what') or ''), 60)}", 26) for one in shown
    ]
    left.set_yticks(places, names, fontsize=9)
    left.set(ylim=(len(shown) - 0.5, -0.7), xlabel="expected accuracy on documents")
    left.margins(x=0.15)
    minutes = [(one.get("seconds") or 0) / 60 for one in shown]
    right.barh(places, minutes, height=0.5, color="#777777")
    right.set(xlabel="minutes")
    right.tick_params(axis="y", length=0)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    _percent(left, "x")
    return figure


PICTURES: dict[str, Callable[[Report], Figure | None]] = {
    "confusion.png": confusion,
    "per_class.png": per_class,
    "calibration.png": calibration,
    "learning_curve.png": learning_curve,
    "baselines.png": baselines,
    "rounds.png": rounds,
}


def short_name(name: str, limit: int = MAX_NAME) -> str:
    """Shorten a label to one line of a tick, and escape dollar signs, which matplotlib would read as maths."""
    line = " ".join(name.split())
    cut = line if len(line) <= limit else line[: limit - 1] + "…"
    return cut.replace("$", r"\$")


def tick_names(classes: Sequence[str]) -> list[str]:
    """Return the names of the classes in pictures, in the same order."""
    replaced = aliases(classes)
    return [replaced.get(name) or short_name(name) for name in classes]


def aliases(classes: Sequence[str]) -> dict[str, str]:
    """Return a name such as ``class 3``, counted from 1, for each class whose name the font of the pictures lacks."""
    known = get_font(findfont(FontProperties())).get_charmap()
    return {
        name: f"class {place}"
        for place, name in enumerate(classes, 1)
        if not all(letter.isspace() or ord(letter) in known for letter in name)
    }


def _dots(bins: Sequence[Mapping[str, Any]] | None) -> NDArray[np.float64]:
    """Return confidence, accuracy and number of texts of each bin (bins, 3), without incomplete bins."""
    rows = [[one["confidence"], one["accuracy"], one["n"]] for one in bins or []]
    return np.asarray([row for row in rows if None not in row], dtype=float).reshape(-1, 3)


def _error_bars(middle: Sequence[float], low: Sequence[float], high: Sequence[float]) -> NDArray[np.float64]:
    """Return how far each interval reaches below and above its value (2, points); at least 0, despite rounding."""
    return np.maximum(0, [np.subtract(middle, low), np.subtract(high, middle)])


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _font_size(classes: int) -> float:
    return 9.5 if classes <= NUMBERED_CLASSES else 7.0


def _percent(axes: Axes, *sides: str) -> None:
    for side in sides:
        axis = axes.xaxis if side == "x" else axes.yaxis
        axis.set_major_formatter(lambda value, _: f"{value * 100:.4g}%")


def _png(figure: Figure) -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=DPI, facecolor="white", metadata={"Software": None})
    return out.getvalue()
