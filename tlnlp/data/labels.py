"""Read labelled examples and report all faults at once, each with its file and row."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Protocol

from tlnlp.data.csv_records import DEFAULT_DIALECT, CsvDialect, CsvKeys
from tlnlp.data.encodings import UTF8
from tlnlp.data.label_faults import (
    Example,
    Fault,
    class_size_faults,
    describe_faults,
    row_fault,
    without_conflicts,
)
from tlnlp.data.label_names import label_name
from tlnlp.data.label_warnings import label_warnings
from tlnlp.data.rows import read_rows
from tlnlp.data.tables import AUTO, SourceFile, source_files
from tlnlp.data.text import MAX_CHARS
from tlnlp.errors import InputDataError, LabelFaultsError, counted


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

    @property
    def encoding(self) -> str:
        """Return the encoding of CSV and JSON Lines."""
        ...


@dataclass(frozen=True)
class LabelContract:
    """State the names of the columns, and what a labelled set must hold.

    Fields:
        classes: the only allowed labels; empty means that any non-empty label is a class.
        min_per_class: fewest sound examples of each class.
        format: ``parquet``, ``json`` or ``csv``; ``auto``: by the names of the files.
        csv: how files in CSV are written.
        max_chars: the most characters of a text that the model reads: texts that it reads alike are one text.
        encoding: of files in CSV and JSON Lines.
    """

    text_column: str = "text"
    label_column: str = "label"
    classes: tuple[str, ...] = ()
    min_per_class: int = 5
    format: str = AUTO
    csv: CsvDialect = DEFAULT_DIALECT
    max_chars: int = MAX_CHARS
    encoding: str = UTF8

    @classmethod
    def of(cls, settings: LabelKeys, min_per_class: int, max_chars: int) -> LabelContract:
        """Return the contract that the settings of a job state, with these ``min_per_class`` and ``max_chars``."""
        columns, csv = (settings.text_column, settings.label_column), CsvDialect.of(settings.csv)
        return cls(*columns, settings.classes, min_per_class, settings.format, csv, max_chars, settings.encoding)


@dataclass(frozen=True)
class LabelledSet:
    """Hold the sound examples of a labelled set, and the faults of all other rows.

    Fields:
        uri: URI of the set, as given.
        digest: sha256 of the bytes of the files, in the order of their names.
        rows: number of rows read, faulty ones included.
        classes: class names, sorted.
        held_out: sound examples that were set aside and are not learned from.
        warnings: what is allowed, but seldom meant (see ``label_warnings``).
    """

    uri: str
    digest: str
    rows: int
    examples: tuple[Example, ...]
    classes: tuple[str, ...]
    faults: tuple[Fault, ...] = field(default=())
    held_out: tuple[Example, ...] = ()
    warnings: tuple[str, ...] = ()

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
        InputDataError: no file can be read, a column is missing, or there is no row.
        StorageError: the store cannot be read.
    """
    digest, rows, is_empty = hashlib.sha256(), 0, True
    read: list[Example] = []
    faults: list[Fault] = []
    for source in source_files(uri, contract.format):
        data = source.read()
        digest.update(data)
        is_empty = is_empty and (not data or data.isspace())
        rows += _read_file(source, data, contract, read, faults)
    if is_empty or not (rows or faults):
        raise InputDataError(
            f"{uri}: there are no labels: {'the input is empty' if is_empty else 'it has columns, but no rows'}: write "
            f"texts to the column {contract.text_column!r} and their labels to {contract.label_column!r}"
        )
    examples, conflicts = without_conflicts(read, contract.max_chars)
    faults = sorted([*faults, *conflicts], key=lambda fault: (fault.file, fault.row))
    classes = _named(contract.classes) or tuple(sorted({example.label for example in examples}))
    faults += class_size_faults(uri, examples, classes, contract.min_per_class)
    found = LabelledSet(uri, digest.hexdigest(), rows, tuple(examples), classes, tuple(faults))
    return replace(found, warnings=label_warnings(found.counts))


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


def _read_file(
    source: SourceFile, data: bytes, contract: LabelContract, examples: list[Example], faults: list[Fault]
) -> int:
    """Append the rows of a file to the examples or to the faults; return the number of rows."""
    classes = _named(contract.classes)
    columns = contract.text_column, contract.label_column
    found = list(read_rows(source, columns, contract.csv, data, contract.encoding))
    if found and found[-1].number == 0:
        found = found[-1:]  # Of a damaged file nothing is used: what its undamaged part lacks is unknown.
    for row in found:
        if row.fault is not None:
            faults.append(Fault(source.uri, row.number, *row.fault, row.line))
            continue
        text, value = row.values
        label = label_name(value)
        fault = row_fault(text, value, label, classes)
        if fault is not None:
            faults.append(Fault(source.uri, row.number, *fault, row.line))
        else:
            examples.append(Example(str(text), label, source.uri, row.number, row.line))
    return sum(row.number > 0 for row in found)


def _named(classes: Iterable[str]) -> tuple[str, ...]:
    """Return the allowed labels by the names that labels have, sorted."""
    return tuple(sorted({label_name(name) for name in classes}))
