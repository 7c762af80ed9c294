"""Draw accuracy by the number of labels, one panel for each data set.

The panels are JSON on stdin; the argument is the path of the picture. The program runs in SetFit's environment, which
has matplotlib, and imports nothing of tlnlp.
"""

from __future__ import annotations

import json
import sys

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot
from matplotlib.ticker import NullFormatter, ScalarFormatter


def main() -> None:
    """Read the panels and write the picture."""
    panels = json.load(sys.stdin)
    figure, axes = pyplot.subplots(1, len(panels), figsize=(4.5 * len(panels), 4.2), squeeze=False)
    # A method has the same colour in every panel, even if another method is missing there.
    titles = list(dict.fromkeys(line["title"] for panel in panels for line in panel["lines"]))
    drawn = {}
    for axis, panel in zip(axes[0], panels, strict=True):
        for line in panel["lines"]:
            labels, accuracy, deviation = zip(*line["points"], strict=True)
            drawn[line["title"]] = axis.errorbar(
                labels,
                accuracy,
                yerr=deviation,
                marker="o",
                markersize=4,
                capsize=2,
                color=f"C{titles.index(line['title'])}",
            )
        counts = sorted({point[0] for line in panel["lines"] for point in line["points"]})
        # The axis is linear below the smallest count, so that it can show 0 labels.
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
