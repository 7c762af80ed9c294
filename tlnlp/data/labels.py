"""The contract of labelled examples: columns found by name, every fault reported at once, by file and row."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from tlnlp.data.tables import SourceFile, read_table, source_files
from tlnlp.data.text import is_blank, is_text, text_sha256
from tlnlp.errors import InputDataError, LabelFaultsError

SHOWN_FAULTS = 20


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
        try:
            table = read_table(source)
        except InputDataError as error:
            faults.append(Fault(source.uri, 0, "unreadable file", str(error).removeprefix(source.uri + ": ")))
            continue
        rows += table.num_rows
        _read_rows(table, source, contract, read, faults)
    examples = _without_conflicts(read, faults)
    present = sorted({example.label for example in examples})
    classes = tuple(sorted(contract.classes)) or tuple(present)
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
    if len(labelled.counts) < min_classes:
        raise LabelFaultsError(
            f"{labelled.uri}: sound examples of {len(labelled.counts)} class(es); {min_classes} or more are needed"
        )
    return labelled


def describe_faults(faults: Sequence[Fault]) -> str:
    lines = [f"  {fault}" for fault in faults[:SHOWN_FAULTS]]
    if len(faults) > SHOWN_FAULTS:
        lines.append(f"  and {len(faults) - SHOWN_FAULTS} more: tlnlp labels check --json lists them all")
    return "\n".join(lines)


def _read_rows(
    table: pa.Table, source: SourceFile, contract: LabelContract, examples: list[Example], faults: list[Fault]
) -> None:
    for column in (contract.text_column, contract.label_column):
        if column not in table.column_names:
            raise InputDataError(
                f"{source.uri}: has no column {column!r} (it has: {', '.join(table.column_names)}); "
                "name yours with --set text_column= and --set label_column="
            )
    texts = table.column(contract.text_column).to_pylist()
    labels = table.column(contract.label_column).to_pylist()
    for row, (text, label) in enumerate(zip(texts, labels, strict=True), start=1):
        name = "" if label is None else str(label).strip()
        fault = _fault_of(text, name, contract)
        if fault is None:
            examples.append(Example(text, name, source.uri, row))
        else:
            faults.append(Fault(source.uri, row, *fault))


def _fault_of(text: object, label: str, contract: LabelContract) -> tuple[str, str] | None:
    if text is None or (isinstance(text, str) and is_blank(text)):
        return "empty text", "the text is null or white space only"
    if not isinstance(text, str) or not is_text(text):
        return "not text", "the text column holds something else than text"
    if not label:
        return "empty label", "the label is null or empty"
    if contract.classes and label not in contract.classes:
        return "unknown label", f"{label!r} is not one of {', '.join(contract.classes)}"
    return None


def _without_conflicts(examples: list[Example], faults: list[Fault]) -> list[Example]:
    by_text: dict[str, list[Example]] = defaultdict(list)
    for example in examples:
        by_text[text_sha256(example.text)].append(example)
    kept: list[Example] = []
    for same in by_text.values():
        first = same[0]
        if len({example.label for example in same}) > 1:
            labels = " and ".join(sorted({example.label for example in same}))
            rows = ", ".join(str(example.row) for example in same)
            for example in same:
                faults.append(Fault(example.file, example.row, "conflicting labels", f"{labels} (rows {rows})"))
            continue
        kept.append(first)
        for example in same[1:]:
            where = f"row {first.row}" if first.file == example.file else f"{first.file}, row {first.row}"
            faults.append(Fault(example.file, example.row, "duplicate", f"the same text as {where}"))
    return kept


def _check_class_sizes(
    uri: str, examples: list[Example], classes: Sequence[str], contract: LabelContract, faults: list[Fault]
) -> None:
    counts = Counter(example.label for example in examples)
    for label in classes:
        if counts[label] < contract.min_per_class:
            detail = f"{label!r} has {counts[label]} sound examples, fewer than min_per_class={contract.min_per_class}"
            faults.append(Fault(uri, 0, "too few examples", detail))
