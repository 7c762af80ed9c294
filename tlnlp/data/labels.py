"""Read labelled examples and report all faults at once, each with its file and row."""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tlnlp.data.csv_records import DEFAULT_DIALECT, CsvDialect, CsvKeys
from tlnlp.data.rows import read_rows
from tlnlp.data.tables import AUTO, SourceFile, source_files
from tlnlp.data.text import is_blank, is_text, text_sha256
from tlnlp.errors import LabelFaultsError, counted

SHOWN_FAULTS = 20
# Messages show labels, never texts. A longer label is probably a text from the wrong column, so it is refused.
LABEL_CHARS = 100
# The kind of fault of a text that stands in the set before, with the same label.
DUPLICATE = "duplicate"


class LabelKeys(Protocol):
    """The settings of a job that reads labels."""

    @property
    def text_column(self) -> str:
        """Return the name of the column of texts."""
        ...

    @property
    def label_column(self) -> str:
        """Return the name of the column of labels."""
        ...

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the allowed labels."""
        ...

    @property
    def format(self) -> str:
        """Return the format of the files."""
        ...

    @property
    def csv(self) -> CsvKeys:
        """Return how CSV is written."""
        ...


@dataclass(frozen=True)
class LabelContract:
    """State the names of the columns, and what a labelled set must hold.

    Fields:
        classes: the only allowed labels; empty means that any non-empty label is a class.
        min_per_class: fewest sound examples of each class.
        format: ``parquet``, ``json`` or ``csv``; ``auto``: by the names of the files.
        csv: how files in CSV are written.
    """

    text_column: str = "text"
    label_column: str = "label"
    classes: tuple[str, ...] = ()
    min_per_class: int = 5
    format: str = AUTO
    csv: CsvDialect = DEFAULT_DIALECT

    @classmethod
    def of(cls, settings: LabelKeys, min_per_class: int) -> LabelContract:
        """Return the contract that the settings of a job state, with another ``min_per_class``."""
        columns = settings.text_column, settings.label_column
        return cls(*columns, settings.classes, min_per_class, settings.format, CsvDialect.of(settings.csv))


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


@dataclass(frozen=True)
class LabelledSet:
    """Hold the sound examples of a labelled set, and the faults of all other rows.

    Fields:
        uri: URI of the set, as given.
        digest: sha256 of the bytes of the files, in the order of their names.
        rows: number of rows read, faulty ones included.
        classes: class names, sorted.
        held_out: sound examples that were set aside and are not learned from.
    """

    uri: str
    digest: str
    rows: int
    examples: tuple[Example, ...]
    classes: tuple[str, ...]
    faults: tuple[Fault, ...] = field(default=())
    held_out: tuple[Example, ...] = ()

    @property
    def texts(self) -> list[str]:
        """Return the texts of the examples."""
        return [example.text for example in self.examples]

    @property
    def targets(self) -> list[int]:
        """Return the class index of each example."""
        index = {label: i for i, label in enumerate(self.classes)}
        return [index[example.label] for example in self.examples]

    @property
    def counts(self) -> dict[str, int]:
        """Return the number of examples by label, sorted by label."""
        return dict(sorted(Counter(example.label for example in self.examples).items()))


def read_labels(uri: str, contract: LabelContract) -> LabelledSet:
    """Read a labelled set with all of its faults; faults raise no error here (see ``require_sound``).

    Raises:
        InputDataError: no file can be read, or a column is missing.
        StorageError: the store cannot be read.
    """
    digest, rows = hashlib.sha256(), 0
    read: list[Example] = []
    faults: list[Fault] = []
    for source in source_files(uri, contract.format):
        data = source.read()
        digest.update(data)
        rows += _read_file(source, data, contract, read, faults)
    examples = _without_conflicts(read, faults)
    faults.sort(key=lambda fault: (fault.file, fault.row))
    present = sorted({example.label for example in examples})
    classes = tuple(sorted(set(contract.classes))) or tuple(present)
    _check_class_sizes(uri, examples, classes, contract, faults)
    return LabelledSet(uri, digest.hexdigest(), rows, tuple(examples), classes, tuple(faults))


def require_sound(labelled: LabelledSet, on_fault: str, min_classes: int = 2) -> LabelledSet:
    """Return the set itself if it may be used.

    Args:
        on_fault: with ``skip``, faulty rows are left out; with any other value, a fault raises.
        min_classes: fewest classes that must have examples; 1 suits an evaluation, 2 a training.

    Raises:
        LabelFaultsError: the set has faults, or examples of too few classes; the message lists the first 20 faults.
    """
    if labelled.faults and on_fault != "skip":
        raise LabelFaultsError(
            f"{labelled.uri}: {counted(len(labelled.faults), 'fault')} in {counted(labelled.rows, 'row')};"
            " nothing was done\n"
            + describe_faults(labelled.faults)
            + "\nCorrect these rows, or pass --set on_fault=skip to continue without them."
        )
    present = len(labelled.counts)
    # Training needs examples of every class; an evaluation can do without some.
    if present < min_classes or (min_classes > 1 and present < len(labelled.classes)):
        needed = max(min_classes, len(labelled.classes) if min_classes > 1 else 0)
        raise LabelFaultsError(
            f"{labelled.uri}: sound examples of {counted(present, 'class', 'classes')}, at least {needed} needed;"
            " add labels\n" + describe_faults(labelled.faults)
        )
    return labelled


def describe_faults(faults: Sequence[Fault]) -> str:
    """Return the first 20 faults as text, one per line, and the number of the others."""
    lines = [f"  {fault}" for fault in faults[:SHOWN_FAULTS]]
    if len(faults) > SHOWN_FAULTS:
        lines.append(f"  and {len(faults) - SHOWN_FAULTS} more: tlnlp labels check --json lists them all")
    return "\n".join(lines)


def _read_file(
    source: SourceFile, data: bytes, contract: LabelContract, examples: list[Example], faults: list[Fault]
) -> int:
    """Append the rows of a file to the examples or to the faults; return the number of rows."""
    found = list(read_rows(source, (contract.text_column, contract.label_column), contract.csv, data))
    if found and found[-1].number == 0:
        found = found[-1:]  # Of a damaged file nothing is used: what its undamaged part lacks is unknown.
    for row in found:
        if row.fault is not None:
            faults.append(Fault(source.uri, row.number, *row.fault, row.line))
            continue
        text, label = row.values[0], _label_name(row.values[1])
        fault = _fault_of(text, label, contract)
        if fault is not None:
            faults.append(Fault(source.uri, row.number, *fault, row.line))
        else:
            examples.append(Example(str(text), label, source.uri, row.number, row.line))
    return sum(row.number > 0 for row in found)


def _label_name(value: object) -> str:
    """Return a label as CSV would write it, so that it is the same in all formats; empty for null and NaN."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        # pandas turns a column of integers with a missing value into floats.
        return "" if math.isnan(value) else str(int(value)) if value.is_integer() else str(value)
    return "" if value is None else str(value).strip()


def _fault_of(text: object, label: str, contract: LabelContract) -> tuple[str, str] | None:
    if text is None or (isinstance(text, str) and is_blank(text)):
        return "empty text", "the text is null or white space only"
    if not isinstance(text, str) or not is_text(text):
        return "not text", "the text column holds something other than text"
    if not label:
        return "empty label", "the label is null or empty"
    if len(label) > LABEL_CHARS:
        return "not a label", f"longer than {LABEL_CHARS} characters; check that label_column names the right column"
    if contract.classes and label not in contract.classes:
        return "unknown label", f"{label!r} is not one of {', '.join(contract.classes)}"
    return None


def _without_conflicts(examples: list[Example], faults: list[Fault]) -> list[Example]:
    """Return one example of each text whose labels agree; append a fault for every other example."""
    by_text: dict[str, list[Example]] = defaultdict(list)
    for example in examples:
        by_text[text_sha256(example.text)].append(example)
    unique: list[Example] = []
    for same in by_text.values():
        labels = sorted({example.label for example in same})
        if len(labels) == 1:
            unique.append(same[0])
        for example in same if len(labels) > 1 else same[1:]:
            other = next(one for one in same if one is not example and (len(labels) == 1 or one.label != example.label))
            where = f"row {other.row}" if other.file == example.file else f"{other.file}, row {other.row}"
            kind, detail = DUPLICATE, f"the same text as {where}"
            if len(labels) > 1:
                kind, detail = "conflicting labels", f"{example.label!r} here, {other.label!r} in {where}"
            faults.append(Fault(example.file, example.row, kind, detail, example.line))
    return unique


def _check_class_sizes(
    uri: str, examples: list[Example], classes: Sequence[str], contract: LabelContract, faults: list[Fault]
) -> None:
    counts = Counter(example.label for example in examples)
    for label in classes:
        if counts[label] < contract.min_per_class:
            size = f"{label!r} has {counted(counts[label], 'sound example')}"
            detail = f"{size}, fewer than min_per_class={contract.min_per_class}: add labels, or lower that key"
            faults.append(Fault(uri, 0, "too few examples", detail))
