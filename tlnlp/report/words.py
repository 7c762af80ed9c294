"""The figures of a report in plain sentences, and the warnings that a reader must not miss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Report = Mapping[str, Any]

# Below these, figures say little: texts in all, and texts of one class.
FEW_TEXTS, FEW_OF_A_CLASS = 100, 10
NAMED = 8


def warnings(report: Report) -> list[str]:
    """What lowers the worth of the model or of its figures, the weightiest first."""
    return [*_unvalidated(report), *_as_good(report), *_pool(report), *_small(report)]


def _unvalidated(report: Report) -> list[str]:
    if not report.get("unvalidated"):
        return []
    return [
        "This model is unvalidated: it learned from class names and documents, and too few labels could be held out to "
        "measure it. Its probabilities are guesses. Label some documents and run tlnlp evaluate before you rely on it."
    ]


def accuracy(report: Report) -> str | None:
    """How many held-out labels were met, and between what the true share lies."""
    own = report.get("cross_validation") or {}
    if own.get("accuracy") is None:
        return None
    hits = round(own["accuracy"] * own["n"])
    return f"{hits:,} of {own['n']:,} held-out labels were predicted right: {own['accuracy']:.1%}, {between(own)}."


def macro_f1(report: Report) -> str | None:
    own = report.get("cross_validation") or {}
    if own.get("macro_f1") is None:
        return None
    return f"Macro-F1, in which every class counts alike, is {own['macro_f1']:.3f}, {between(own, 'macro_f1', '.3f')}."


def between(figures: Report, name: str = "accuracy", form: str = ".1%") -> str:
    low, high = figures[f"{name}_interval"]
    return f"with 95 % confidence between {low:{form}} and {high:{form}}"


def calibration(report: Report) -> str | None:
    """Whether a stated probability can be taken at its word."""
    found = report.get("calibration") or {}
    before, after = found.get("ece_before"), found.get("ece_after")
    if after is None:
        return None
    told = f"Stated probabilities and the share that is right lie {points(after)} apart on average"
    if before is None:
        return told + "."
    verdict = "calibration helped" if after < before else "calibration did not help"
    return f"{told}; before calibration it was {points(before)}: {verdict}."


def learning_curve(report: Report) -> str | None:
    """What more labels would bring."""
    found = report.get("learning_curve") or {}
    more = found.get("more")
    if more:
        told = (
            f"{more['labels']} labels more would raise accuracy by {points(more['gain'])} if the trend holds, with "
            f"95 % confidence by {more['low'] * 100:.1f} to {more['high'] * 100:.1f}."
        )
        simpler = " The trend is that of a simpler model, a linear head on the encoder as it was pretrained."
        return told + (simpler if found.get("of") == "as_pretrained" else "")
    if found.get("points"):
        return "Too few counts of labels were tried to say what more labels would bring."
    return None


def baseline(name: str, figures: Report) -> str | None:
    """The model beside one simple model."""
    difference = figures.get("difference")
    if difference is None:
        return None
    low, high = (end * 100 for end in figures["difference_interval"])
    ahead = f"{points(abs(difference))} {'better' if difference > 0 else 'worse'} than" if difference else "as good as"
    return (
        f"The model is {ahead} the baseline {spoken(name)} ({figures['accuracy']:.1%}); the difference lies with 95 % "
        f"confidence between {low:+.1f} and {high:+.1f} points."
    )


def faults(report: Report) -> str | None:
    found = report.get("suspected_faults")
    if found is None:
        return None
    if not found:
        return "No label was confidently contradicted."
    return (
        f"The model, which had not learned from {'it' if len(found) == 1 else 'them'}, confidently contradicts "
        f"{counted(len(found), 'label')}. Look at {'this row' if len(found) == 1 else 'these rows'} first: the label "
        "may be wrong, or the text hard."
    )


def confusions(report: Report, limit: int = 10) -> list[tuple[str, str, int]]:
    """True class, predicted class and texts of the most frequent mistakes."""
    table = (report.get("cross_validation") or {}).get("confusion") or {}
    wrong = [(true, guess, n) for true, row in table.items() for guess, n in row.items() if n and guess != true]
    return sorted(wrong, key=lambda one: -one[2])[:limit]


def points(share: float) -> str:
    """A difference of shares, in percentage points."""
    return f"{share * 100:.1f} points"


def counted(n: int, thing: str) -> str:
    return f"{n:,} {thing}" if n == 1 else f"{n:,} {thing}s"


def spoken(name: str) -> str:
    return name.replace("_", " ")


def _as_good(report: Report) -> list[str]:
    return [
        f"A simple model ({spoken(name)}) is {_rank(one)}. {baseline(name, one) or ''}".rstrip()
        for name, one in (report.get("baselines") or {}).items()
        if one.get("as_good")
    ]


def _rank(figures: Report) -> str:
    better = figures.get("difference_interval") and figures["difference_interval"][1] < 0
    return "better than this one" if better else "as good as this one, as far as these labels can tell"


def _pool(report: Report) -> list[str]:
    pool = report.get("pool") or {}
    inside = pool.get("labelled_inside") or 0
    if not inside:
        return []
    of = f" of the {pool['documents']:,} documents" if pool.get("documents") else ""
    return [
        f"The unlabelled pool held labelled texts: {inside:,}{of}. If they were read there, texts that were held out "
        "were not wholly unseen, and the figures here may flatter the model."
    ]


def _small(report: Report) -> list[str]:
    own, told = report.get("cross_validation") or {}, []
    n = own.get("n")
    if n is not None and n < FEW_TEXTS:
        told.append(f"Only {counted(n, 'label')} could be held out: every figure here is rough. Mind the intervals.")
    few = {label: one["n"] for label, one in (own.get("per_class") or {}).items() if one["n"] < FEW_OF_A_CLASS}
    if few:
        told.append(f"Fewer than {FEW_OF_A_CLASS} labels: {_some(few)}. Figures of such a class say little.")
    return told


def _some(counts: Mapping[str, int]) -> str:
    labels: Sequence[str] = sorted(counts, key=lambda label: counts[label])
    shown = ", ".join(f"{label} ({counts[label]})" for label in labels[:NAMED])
    return shown if len(labels) <= NAMED else f"{shown} and {len(labels) - NAMED} classes more"
