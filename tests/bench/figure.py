"""Accuracy against the number of labels, a panel per data set: panels as JSON on stdin, the picture's path as argument.

Runs in the environment that has matplotlib, SetFit's; imports nothing of tlnlp.
"""

from __future__ import annotations

import json
import sys

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot
from matplotlib.ticker import NullFormatter, ScalarFormatter


def main() -> None:
    panels = json.load(sys.stdin)
    figure, axes = pyplot.subplots(1, len(panels), figsize=(4.5 * len(panels), 4.2), squeeze=False)
    # A method has one colour in every panel, also where another is missing.
    titles = list(dict.fromkeys(line["title"] for panel in panels for line in panel["lines"]))
    drawn = {}
    for axis, panel in zip(axes[0], panels, strict=True):
        for line in panel["lines"]:
            labels, accuracy, spread = zip(*line["points"], strict=True)
            drawn[line["title"]] = axis.errorbar(
                labels,
                accuracy,
                yerr=spread,
                marker="o",
                markersize=4,
                capsize=2,
                color=f"C{titles.index(line['title'])}",
            )
        counts = sorted({point[0] for line in panel["lines"] for point in line["points"]})
        # Linear below the fewest labels, so that no labels at all have their place.
        axis.set_xscale("symlog", linthresh=min([count for count in counts if count] or [1]))
        axis.set(title=panel["title"], xticks=counts, xlabel="labels in all", ylabel="accuracy, %")
        axis.xaxis.set_major_formatter(ScalarFormatter())
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.grid(alpha=0.3)
    figure.legend(drawn.values(), drawn, loc="lower center", ncols=3, frameon=False)
    figure.tight_layout(rect=(0, 0.13, 1, 1))
    figure.savefig(sys.argv[1], dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    main()
