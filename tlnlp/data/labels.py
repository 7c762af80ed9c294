"""The contract of labelled examples: columns found by name, every fault reported at once, by file and row."""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from tlnlp.data.rows import read_rows
from tlnlp.data.tables import SourceFile, source_files
from tlnlp.data.text import is_blank, is_text, text_sha256
from tlnlp.errors import LabelFaultsError

SHOWN_FAULTS = 20
# Labels are shown in messages, texts never: what is longer is taken for a text in the wrong column.
LABEL_CHARS = 100


@dataclass(frozen=True)
class LabelContract:
    """Where the columns are, and what a set must hold.

    ``classes`` closes the label domain; without it, any non-empty label is a class.
    """

    text_column: str = "text"
    label_column: str = "label"
    classes: tuple[str, ...] = ()
    min_per_class: int = 5


@dataclass(frozen=True)
class Fault:
    """One fault: ``row`` counts from 1 within its file (0: the set as a whole). Never holds the text."""

    file: str
    row: int
    kind: str
    detail: str

    def __str__(self) -> str:
        place = f"{self.file}, row {self.row}" if self.row else self.file
        return f"{place}: {self.kind}: {self.detail}"


@dataclass(frozen=True)
class Example:
    text: str
    label: str
    file: str
    row: int


@dataclass(frozen=True)
class LabelledSet:
    """The sound examples of a set, and the faults of the others.

    ``classes`` are sorted; ``digest`` is the sha256 of the input files' bytes, in the order of their names.
    """

    uri: str
    digest: str
    rows: int
    examples: tuple[Example, ...]
    classes: tuple[str, ...]
    faults: tuple[Fault, ...] = field(default=())

    @property
    def texts(self) -> list[str]:
        return [example.text for example in self.examples]

    @property
    def targets(self) -> list[int]:
        """Class indices, one an example."""
        index = {label: i for i, label in enumerate(self.classes)}
        return [index[example.label] for example in self.examples]

    @property
    def counts(self) -> dict[str, int]:
        return dict(sorted(Counter(example.label for example in self.examples).items()))


def read_labels(uri: str, contract: LabelContract) -> LabelledSet:
    """Read a labelled set and find all of its faults; raises nothing for them.

    Raises:
        InputDataError: nothing can be read, or a column is missing.
        StorageError: the store cannot be read.
    """
    digest, rows = hashlib.sha256(), 0
    read: list[Example] = []
    faults: list[Fault] = []
    for source in source_files(uri):
        digest.update(source.data)
        rows += _read_file(source, contract, read, faults)
    examples = _without_conflicts(read, faults)
    faults.sort(key=lambda fault: (fault.file, fault.row))
    present = sorted({example.label for example in examples})
    classes = tuple(sorted(set(contract.classes))) or tuple(present)
    _check_class_sizes(uri, examples, classes, contract, faults)
    return LabelledSet(uri, digest.hexdigest(), rows, tuple(examples), classes, tuple(faults))


def require_sound(labelled: LabelledSet, on_fault: str, min_classes: int = 2) -> LabelledSet:
    """The set itself if it may be used: it has no faults, or ``on_fault`` is ``skip`` and enough remains.

    Raises:
        LabelFaultsError: lists the faults (the first 20 in full, and how many more).
    """
    if labelled.faults and on_fault != "skip":
        raise LabelFaultsError(
            f"{labelled.uri}: {len(labelled.faults)} faults in {labelled.rows} rows; nothing was done\n"
            + describe_faults(labelled.faults)
            + "\nMend these rows, or pass --set on_fault=skip to go on without them."
        )
    found = len(labelled.counts)
    # What trains on a set needs all of its classes; what only measures may do without some.
    if found < min_classes or (min_classes > 1 and found < len(labelled.classes)):
        needed = max(min_classes, len(labelled.classes) if min_classes > 1 else 0)
        raise LabelFaultsError(
            f"{labelled.uri}: sound examples of {found} class(es), where {needed} are needed; add labels\n"
            + describe_faults(labelled.faults)
        )
    return labelled


def describe_faults(faults: Sequence[Fault]) -> str:
    lines = [f"  {fault}" for fault in faults[:SHOWN_FAULTS]]
    if len(faults) > SHOWN_FAULTS:
        lines.append(f"  and {len(faults) - SHOWN_FAULTS} more: tlnlp labels check --json lists them all")
    return "\n".join(lines)


def _read_file(source: SourceFile, contract: LabelContract, examples: list[Example], faults: list[Fault]) -> int:
    """Sort the rows of a file into examples and faults; returns how many there were."""
    rows = 0
    for row in read_rows(source, (contract.text_column, contract.label_column)):
        rows += row.number > 0
        if row.fault is not None:
            faults.append(Fault(source.uri, row.number, *row.fault))
            continue
        text, label = row.values[0], _label_name(row.values[1])
        fault = _fault_of(text, label, contract)
        if fault is not None:
            faults.append(Fault(source.uri, row.number, *fault))
        else:
            examples.append(Example(str(text), label, source.uri, row.number))
    return rows


def _label_name(value: object) -> str:
    """A label as CSV would write it, so that all formats name a class alike; empty for null and NaN."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        # A column of whole numbers with a gap becomes one of floats on its way through pandas.
        return "" if math.isnan(value) else str(int(value)) if value.is_integer() else str(value)
    return "" if value is None else str(value).strip()


def _fault_of(text: object, label: str, contract: LabelContract) -> tuple[str, str] | None:
    if text is None or (isinstance(text, str) and is_blank(text)):
        return "empty text", "the text is null or white space only"
    if not isinstance(text, str) or not is_text(text):
        return "not text", "the text column holds something else than text"
    if not label:
        return "empty label", "the label is null or empty"
    if len(label) > LABEL_CHARS:
        return "not a label", f"longer than {LABEL_CHARS} characters; is label_column the right one?"
    if contract.classes and label not in contract.classes:
        return "unknown label", f"{label!r} is not one of {', '.join(contract.classes)}"
    return None


def _without_conflicts(examples: list[Example], faults: list[Fault]) -> list[Example]:
    by_text: dict[str, list[Example]] = defaultdict(list)
    for example in examples:
        by_text[text_sha256(example.text)].append(example)
    kept: list[Example] = []
    for same in by_text.values():
        labels = sorted({example.label for example in same})
        if len(labels) == 1:
            kept.append(same[0])
        for example in same if len(labels) > 1 else same[1:]:
            other = next(one for one in same if one is not example and (len(labels) == 1 or one.label != example.label))
            where = f"row {other.row}" if other.file == example.file else f"{other.file}, row {other.row}"
            kind, detail = "duplicate", f"the same text as {where}"
            if len(labels) > 1:
                kind, detail = "conflicting labels", f"{example.label!r} here, {other.label!r} in {where}"
            faults.append(Fault(example.file, example.row, kind, detail))
    return kept


def _check_class_sizes(
    uri: str, examples: list[Example], classes: Sequence[str], contract: LabelContract, faults: list[Fault]
) -> None:
    counts = Counter(example.label for example in examples)
    for label in classes:
        if counts[label] < contract.min_per_class:
            few = f"{label!r} has {counts[label]} sound examples, fewer than min_per_class={contract.min_per_class}"
            detail = f"{few}: label more of it, or lower that key"
            faults.append(Fault(uri, 0, "too few examples", detail))
