"""Describe the figures of a report in sentences, and list its warnings.

A sentence is None where the report lacks its figures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tlnlp.data.tables import format_of
from tlnlp.errors import counted

Report = Mapping[str, Any]

# With fewer texts in all, or of one class, a warning says that the figures are uncertain.
FEW_TEXTS, FEW_OF_A_CLASS = 100, 10
# How many classes a warning lists by name.
NAMED = 8


def warnings(report: Report) -> list[str]:
    """Return what limits the model or the reliability of its figures, the most serious first."""
    return [*_unvalidated(report), *_co_trained(report), *_not_better(report), *_small(report)]


def _unvalidated(report: Report) -> list[str]:
    if not report.get("unvalidated"):
        return []
    return [
        "This model is unvalidated: it was trained on class names and documents, and too few labels could be held out "
        "to measure its accuracy. Its probabilities are unverified. Label some documents and run tlnlp evaluate before "
        "you rely on it."
    ]


def _co_trained(report: Report) -> list[str]:
    if not report.get("rounds") or report.get("unvalidated"):
        return []
    return [
        "The figures on this page are those of a model that learned from the labels alone. The model of this version "
        "went on to learn from unlabelled documents, and held-out labels cannot measure it. To measure it, run tlnlp "
        "evaluate with labels that it was not trained on."
    ]


def accuracy(report: Report) -> str | None:
    """Describe the accuracy on held-out labels, with its interval."""
    own = report.get("cross_validation") or {}
    if own.get("accuracy") is None:
        return None
    hits = round(own["accuracy"] * own["n"])
    share = f"{own['accuracy']:.1%}, {interval(own)}"
    return f"{hits:,} of {own['n']:,} held-out labels were predicted correctly: {share}."


def macro_f1(report: Report) -> str | None:
    """Describe macro-F1 on held-out labels, with its interval."""
    own = report.get("cross_validation") or {}
    if own.get("macro_f1") is None:
        return None
    return f"Macro-F1, the mean F1 over the classes, is {own['macro_f1']:.3f}, {interval(own, 'macro_f1', '.3f')}."


def interval(figures: Report, name: str = "accuracy", form: str = ".1%") -> str:
    """Describe the interval of a figure. ``form`` is the format of a number."""
    low, high = figures[f"{name}_interval"]
    return f"with 95% confidence between {low:{form}} and {high:{form}}"


def calibration(report: Report) -> str | None:
    """Describe the expected calibration error, before and after calibration."""
    errors = report.get("calibration") or {}
    before, after = errors.get("ece_before"), errors.get("ece_after")
    if after is None:
        return None
    sentence = f"Confidence and accuracy differ by {points(after)} on average"
    if before is None:
        return sentence + "."
    verdict = "calibration helped" if after < before else "calibration did not help"
    return f"{sentence}; before calibration they differed by {points(before)}: {verdict}."


def learning_curve(report: Report) -> str | None:
    """Describe the gain in accuracy to expect from more labels, as far as the curve can tell."""
    curve = report.get("learning_curve") or {}
    more = curve.get("more")
    if more:
        simpler = " The curve was measured on a simpler model, a linear head on the pretrained encoder."
        return _gain(more) + (simpler if curve.get("of") == "as_pretrained" else "")
    if curve.get("points"):
        return "The learning curve has too few points to estimate the gain of more labels."
    return None


def tells(more: Report) -> bool:
    """Return whether a learning curve shows that more labels help: whether the interval of the gain excludes 0."""
    return bool(round(more["low"] * 100, 1) > 0)


def _gain(more: Report) -> str:
    if not tells(more):
        return (
            f"This curve cannot tell whether more labels help: with 95% confidence, {more['labels']} more would raise "
            f"accuracy by at most {points(more['high'])}."
        )
    return (
        f"{more['labels']} more labels would raise accuracy by {points(more['gain'])} if the trend holds, with 95% "
        f"confidence by {more['low'] * 100:.1f} to {more['high'] * 100:.1f} points."
    )


def verdict(figures: Report) -> str:
    """Return whether the model is ``better`` or ``worse`` than a baseline, or ``undecided``.

    An interval that holds 0 decides nothing. Bundles of an older tlnlp have an interval, but no verdict.
    """
    if not figures.get("difference_interval"):
        return "undecided" if figures.get("as_good") else "better"
    low, high = figures["difference_interval"]
    return "better" if low > 0 else "worse" if high < 0 else "undecided"


def baseline(name: str, figures: Report) -> str | None:
    """Compare the model with one simpler model."""
    difference = figures.get("difference")
    if difference is None:
        return None
    low, high = (end * 100 for end in figures["difference_interval"])
    between = f"with 95% confidence, the difference lies between {low:+.1f} and {high:+.1f} points."
    other = f"{readable(name)} ({figures['accuracy']:.1%})"
    if (rank := verdict(figures)) == "undecided":
        return f"The model and the baseline {other} cannot be distinguished by these labels; {between}"
    return f"The model is {points(abs(difference))} {rank} than the baseline {other}; {between}"


def ranked(report: Report, rank: str) -> list[str]:
    """Return the readable names of the baselines with this verdict on the model."""
    return [readable(name) for name, one in (report.get("baselines") or {}).items() if verdict(one) == rank]


def faults(report: Report) -> str | None:
    """Describe how many labels are suspected to be wrong, and how many correct ones may be among them."""
    suspects = report.get("suspected_faults")
    if suspects is None:
        return None
    if not suspects:
        return "The model contradicts no label strongly."
    share, n = report.get("false_alarm_share"), (report.get("cross_validation") or {}).get("n")
    one = len(suspects) == 1
    sentence = (
        f"Check {counted(len(suspects), 'label')}{f' of {n:,}' if n else ''}: a model that was not trained on "
        f"{'it' if one else 'them'} contradicts {'it' if one else 'them'} most."
    )
    if share is None:
        return f"{sentence} An older tlnlp made this list: many of these labels may be correct."
    return (
        f"{sentence} Of 100 correct labels, at most {share * 100:.0f} are listed by mistake, so even all of the listed "
        "ones may be correct."
    )


def row_unit(file: str) -> str:
    """Describe what the row of a labelled set counts, by the format of its file."""
    units = {
        "json": "A row is a line of this file, counted from 1.",
        "csv": "A row is a record of this file, counted from 1 below the header; a record may have several lines.",
        "parquet": "A row is a row of this file, counted from 1.",
    }
    return units.get(format_of(file) or "", "Rows are counted from 1.")


def confusions(report: Report, limit: int = 10) -> list[tuple[str, str, int]]:
    """Return the most frequent mistakes: true class, predicted class and number of texts."""
    table = (report.get("cross_validation") or {}).get("confusion") or {}
    wrong = [(true, label, n) for true, row in table.items() for label, n in row.items() if n and label != true]
    return sorted(wrong, key=lambda mistake: -mistake[2])[:limit]


def points(share: float) -> str:
    """Format a difference of shares in percentage points."""
    return f"{share * 100:.1f} points"


def readable(name: str) -> str:
    """Return a name of the report with spaces in place of underscores."""
    return name.replace("_", " ")


def _not_better(report: Report) -> list[str]:
    """Return a warning for each baseline that the model is not better than."""
    return [
        f"A simple model ({readable(name)}) {_rank(one)}. {baseline(name, one) or ''}".rstrip()
        for name, one in (report.get("baselines") or {}).items()
        if verdict(one) != "better"
    ]


def _rank(figures: Report) -> str:
    worse = verdict(figures) == "worse"
    return "is better than this one" if worse else "cannot be distinguished from this one by these labels"


def _small(report: Report) -> list[str]:
    own, sentences = report.get("cross_validation") or {}, []
    n = own.get("n")
    if n is not None and n < FEW_TEXTS:
        sentences.append(f"Only {counted(n, 'label')} could be held out: every figure is uncertain. Use the intervals.")
    few = {label: one["n"] for label, one in (own.get("per_class") or {}).items() if one["n"] < FEW_OF_A_CLASS}
    if few:
        sentences.append(
            f"Fewer than {FEW_OF_A_CLASS} labels: {_listed(few)}. The figures of such a class are uncertain."
        )
    return sentences


def _listed(counts: Mapping[str, int]) -> str:
    """List the classes with the fewest labels, and how many more there are."""
    labels: Sequence[str] = sorted(counts, key=lambda label: counts[label])
    shown = ", ".join(f"{label} ({counts[label]})" for label in labels[:NAMED])
    left = len(labels) - NAMED
    return shown if left <= 0 else f"{shown} and {counted(left, 'more class', 'more classes')}"
