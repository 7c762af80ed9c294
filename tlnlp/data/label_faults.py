"""The faults of labelled rows, each with its file and row; a fault never holds the text."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from tlnlp.data.label_names import is_several
from tlnlp.data.text import is_blank, is_text, model_text_sha256
from tlnlp.errors import counted

SHOWN_FAULTS = 20
# Messages show labels, never texts. A longer label is probably a text from the wrong column, so it is refused.
LABEL_CHARS = 100
# The kind of fault of a text that stands in the set before, with the same label.
DUPLICATE = "duplicate"
SEVERAL_LABELS = (
    "a list of labels; several labels of one text (multi-label) are not supported: write one label a text, or train a "
    "model of yes and no for each label"
)
_READ_ALIKE = "white space, line-break tags or what max_chars cuts out"


@dataclass(frozen=True)
class Fault:
    """Describe one fault of a labelled set; it never holds the text.

    Fields:
        file: URI of the file.
        row: number of the row in the file, from 1; 0 means the file or the set as a whole.
        kind: the fault in one or two words.
        detail: an explanation for the user.
        line: number of the row's first line in the file, from 1, where rows and lines are counted apart (CSV); else 0.
    """

    file: str
    row: int
    kind: str
    detail: str
    line: int = 0

    def __str__(self) -> str:
        line = f" (line {self.line})" if self.line else ""
        place = f"{self.file}, row {self.row}{line}" if self.row else self.file
        return f"{place}: {self.kind}: {self.detail}"


@dataclass(frozen=True)
class Example:
    """Hold a labelled text and its place: the URI of the file, the row in it, and its line (see ``Fault``)."""

    text: str
    label: str
    file: str
    row: int
    line: int = 0


def describe_faults(faults: Sequence[Fault]) -> str:
    """Return the first 20 faults as text, one per line, and the number of the others."""
    lines = [f"  {fault}" for fault in faults[:SHOWN_FAULTS]]
    if len(faults) > SHOWN_FAULTS:
        lines.append(f"  and {len(faults) - SHOWN_FAULTS} more: tlnlp labels check --json lists them all")
    return "\n".join(lines)


def row_fault(text: object, value: object, label: str, classes: Collection[str]) -> tuple[str, str] | None:
    """Return the kind and the detail of the fault of a row; None for a sound one.

    Args:
        value: the value of the label column.
        label: the name of the label (see ``label_name``).
        classes: the allowed labels; empty: all.
    """
    if text is None or (isinstance(text, str) and is_blank(text)):
        return "empty text", "the text is null or white space only"
    if not isinstance(text, str) or not is_text(text):
        return "not text", "the text column holds something other than text"
    if is_several(value):
        return "several labels", SEVERAL_LABELS
    if not label:
        return "empty label", "the label is null or empty"
    if not is_text(label):
        return "not a label", "it holds characters that are no text"
    if len(label) > LABEL_CHARS:
        return "not a label", f"longer than {LABEL_CHARS} characters; check that label_column names the right column"
    if classes and label not in classes:
        return "unknown label", f"{label!r} is not one of {', '.join(classes)}"
    return None


def without_conflicts(examples: Sequence[Example], max_chars: int) -> tuple[list[Example], list[Fault]]:
    """Return one example of each text whose labels agree, and a fault for every other example.

    Args:
        max_chars: the most characters of a text that the model reads; what it reads alike is one text.
    """
    by_text: dict[str, list[Example]] = defaultdict(list)
    for example in examples:
        by_text[model_text_sha256(example.text, max_chars)].append(example)
    unique: list[Example] = []
    faults: list[Fault] = []
    for same in by_text.values():
        labels = {example.label for example in same}
        if len(labels) == 1:
            unique.append(same[0])
        for example in same if len(labels) > 1 else same[1:]:
            others = [one for one in same if one is not example and (len(labels) == 1 or one.label != example.label)]
            faults.append(_conflict(example, others))
    return unique, faults


def _conflict(example: Example, others: Sequence[Example]) -> Fault:
    """Return the fault of an example beside others of the same text; one that is spelt alike is named first."""
    other = next((one for one in others if one.text == example.text), others[0])
    where = f"row {other.row}" if other.file == example.file else f"{other.file}, row {other.row}"
    kind, detail, but = DUPLICATE, f"the same text as {where}", ", but for "
    if other.label != example.label:
        kind, detail = "conflicting labels", f"{example.label!r} here, {other.label!r} in {where}"
        but = ", whose text is the same but for "
    if other.text != example.text:
        detail += f"{but}{_READ_ALIKE}"
    return Fault(example.file, example.row, kind, detail, example.line)


def class_size_faults(uri: str, examples: Sequence[Example], classes: Sequence[str], min_per_class: int) -> list[Fault]:
    """Return a fault for each class that has fewer than ``min_per_class`` examples."""
    counts, faults = Counter(example.label for example in examples), []
    for label in classes:
        if counts[label] < min_per_class:
            size = f"{label!r} has {counted(counts[label], 'sound example')}"
            detail = f"{size}, fewer than min_per_class={min_per_class}: add labels, or lower that key"
            faults.append(Fault(uri, 0, "too few examples", detail))
    return faults
