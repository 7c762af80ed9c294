"""Warnings about the classes of a labelled set: what is allowed, but seldom meant."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence

from tlnlp.errors import counted

# A class is small if it has fewer labels than this, and than this share of the labels of the largest class.
SMALL_CLASS = 20
SMALL_SHARE = 0.1


def label_warnings(counts: Mapping[str, int]) -> tuple[str, ...]:
    """Return warnings about classes that look like one, a single class, and classes that are small beside others.

    Args:
        counts: the number of labels of each class.
    """
    found = [_alike(names, counts) for names in _groups(sorted(counts)) if len(names) > 1]
    if len(counts) == 1:
        ((name, count),) = counts.items()
        found.append(f"the set has one class only, {name!r} ({counted(count, 'label')}): a classifier needs two")
    largest = max(counts, key=lambda name: counts[name], default="")
    for name, count in counts.items():
        if count < min(SMALL_CLASS, SMALL_SHARE * counts[largest]):
            found.append(
                f"the class {name!r} has {counted(count, 'label')}, {largest!r} has {counts[largest]:,}: a model "
                f"seldom predicts such a class, and its accuracy is hardly measured: label more texts of {name!r}"
            )
    return tuple(found)


def _groups(names: Sequence[str]) -> list[list[str]]:
    """Return the names, those together that differ in case, blanks, invisible characters or Unicode form alone."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in names:
        folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
        groups["".join(c for c in folded if not c.isspace() and unicodedata.category(c) != "Cf")].append(name)
    return list(groups.values())


def _alike(names: Sequence[str], counts: Mapping[str, int]) -> str:
    # Names of different Unicode forms look the same, so they are written in ASCII.
    look_same = len({unicodedata.normalize("NFC", name) for name in names}) < len(names)
    shown = [f"{ascii(name) if look_same else repr(name)} ({counted(counts[name], 'label')})" for name in names]
    return (
        f"the classes {', '.join(shown[:-1])} and {shown[-1]} differ in case, blanks or Unicode form only, and the "
        "model tells them apart: if they are one class, write all its labels alike"
    )
