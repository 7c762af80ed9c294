"""The inputs of a run of fine-tuning: labels and documents, read and checked before training."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable

from tlnlp.config import FinetuneSettings, PromoteSettings
from tlnlp.data.csv_records import CsvDialect
from tlnlp.data.held_out import hold_out
from tlnlp.data.label_faults import describe_faults
from tlnlp.data.label_names import label_name
from tlnlp.data.labels import LabelContract, LabelledSet, read_labels, require_sound
from tlnlp.data.pool import Pool, read_pool
from tlnlp.data.text import model_text_sha256
from tlnlp.errors import UsageError, counted
from tlnlp.runs.ledger import Ledger
from tlnlp.runs.progress import LINE_EVERY_S, say


def read_labelled(settings: FinetuneSettings, ledger: Ledger) -> LabelledSet:
    """Return the labelled set, checked; with ``allow_unvalidated`` it may be empty, or hold few texts of a class.

    Raises:
        LabelFaultsError: the labels have faults that ``on_fault`` does not allow.
        InputDataError: the labels cannot be read.
        StorageError: the storage of the labels fails.
        UsageError: there are no labels and nothing in their place, or the classes do not fit the labels.
    """
    if not settings.labels:
        return _no_labels(settings)
    contract = LabelContract.of(settings, _fewest_per_class(settings), settings.max_chars)
    parsed = read_labels(settings.labels, contract)
    labelled = require_sound(parsed, settings.on_fault, min_classes=1 if settings.allow_unvalidated else 2)
    if len(labelled.classes) < 2:
        raise UsageError(f"{labelled.uri}: all labels are of one class: a classifier needs two: set classes=NAME,NAME")
    if unknown := sorted(settings.class_descriptions.keys() - set(labelled.classes)):
        known = ", ".join(labelled.classes)
        raise UsageError(f"class_descriptions: {', '.join(unknown)} is no class of the labels, which are {known}")
    ledger.inputs(labelled.uri, digest=labelled.digest, rows=labelled.rows)
    ledger.counts |= {"labels": len(labelled.examples), "faults": len(labelled.faults)}
    if labelled.faults:
        say(f"labels: {counted(len(labelled.faults), 'fault')} skipped\n{describe_faults(labelled.faults)}")
    for warning in labelled.warnings:
        say(f"labels: warning: {warning}")
    labelled = _hold_out(settings, labelled, ledger)
    say(f"labels: {len(labelled.examples)} ({', '.join(f'{n} {label}' for label, n in labelled.counts.items())})")
    return labelled


def _hold_out(settings: FinetuneSettings, labelled: LabelledSet, ledger: Ledger) -> LabelledSet:
    """Set the share of the labels aside that ``held_out_share`` names; the others must still suffice."""
    if not settings.held_out_share:
        return labelled
    parted = hold_out(labelled, settings.held_out_share, settings.seed, settings.max_chars)
    fewest = _fewest_per_class(settings)
    left = {label: parted.counts.get(label, 0) for label in labelled.counts}
    if few := [label for label, count in left.items() if count < fewest]:
        raise UsageError(
            f"{labelled.uri}: held_out_share={settings.held_out_share:g} leaves {left[few[0]]} labels of {few[0]!r} to "
            f"learn from, fewer than min_per_class={fewest}: add labels, or lower one of these keys"
        )
    ledger.counts |= {"labels": len(parted.examples), "labels_held_out": len(parted.held_out)}
    say(f"labels: {len(parted.held_out)} of {len(labelled.examples)} are set aside (held_out_share)")
    if len(parted.held_out) < (enough := PromoteSettings.model_fields["min_labels"].default):
        say(f"tlnlp promote needs {enough} of them to compare two versions: label more documents before the second one")
    return parted


def _fewest_per_class(settings: FinetuneSettings) -> int:
    """Return how many labels of each class a run needs."""
    return 0 if settings.allow_unvalidated else settings.min_per_class


def is_validated(settings: FinetuneSettings, labelled: LabelledSet) -> bool:
    """Return whether every class has enough labels to measure a model."""
    return min(labelled.counts.get(label, 0) for label in labelled.classes) >= settings.min_per_class


def _no_labels(settings: FinetuneSettings) -> LabelledSet:
    if not settings.allow_unvalidated:
        raise UsageError(
            "'labels' is not set: there is nothing to learn from: set it in the config file or by --set labels=URI, or "
            "start from class names and documents: --set allow_unvalidated=true --set classes=NAME,NAME --set "
            "unlabelled=URI"
        )
    if len(settings.classes) < 2 or settings.unlabelled is None:
        raise UsageError("allow_unvalidated=true without labels: set classes=NAME,NAME and unlabelled=URI too")
    classes = tuple(sorted({label_name(name) for name in settings.classes}))
    digest = hashlib.sha256("\n".join(classes).encode()).hexdigest()
    say(f"labels: none; {len(classes)} classes, by name: {', '.join(classes)}")
    return LabelledSet("", digest, 0, (), classes)


def read_documents(settings: FinetuneSettings, labelled: LabelledSet, ledger: Ledger) -> Pool | None:
    """Return a sample of the unlabelled documents, without labelled texts; None where ``unlabelled`` is not set.

    Raises:
        InputDataError: the documents cannot be read.
        StorageError: the storage of the documents fails.
    """
    if settings.unlabelled is None:
        return None
    with ledger.stage("unlabelled"):
        examples = (*labelled.examples, *labelled.held_out)
        labels = {model_text_sha256(example.text, settings.max_chars) for example in examples}
        limit = settings.teaching.max_documents
        pool = read_pool(
            settings.unlabelled,
            settings.text_column,
            limit,
            settings.seed,
            labels,
            settings.unlabelled_format,
            CsvDialect.of(settings.unlabelled_csv, "unlabelled_csv"),
            _reading_progress(),
            settings.unlabelled_encoding,
            settings.max_chars,
        )
    ledger.inputs(pool.uri, digest=pool.digest, rows=pool.rows)
    ledger.counts |= {"unlabelled": len(pool.texts), "labelled_inside": pool.labelled_inside}
    say(describe_pool(pool))
    return pool


def describe_pool(pool: Pool) -> str:
    """Return in words what was read of the unlabelled documents, and how much of it is used."""
    lines = [
        f"unlabelled: {len(pool.texts)} distinct documents out of {pool.rows} rows; left out: {pool.labelled_inside} "
        f"labelled, {pool.unusable} without text"
    ]
    if pool.parts_read:
        lines.append(
            f"unlabelled: the input is large: these rows are from {pool.parts_read} of {pool.parts} parts of its "
            "files, which were drawn at random"
        )
    if pool.unreadable:
        files = counted(pool.unreadable, "file or part of a file", "files or parts of files")
        lines.append(f"unlabelled: {files} cannot be read to the end: check whether they are damaged or cut off")
    return "\n".join(lines)


def _reading_progress() -> Callable[[int], None]:
    """Return a function that prints the number of rows read, every few seconds."""
    last = time.monotonic()

    def report(rows: int) -> None:
        """Say now and then how many rows were read."""
        nonlocal last
        if time.monotonic() - last >= LINE_EVERY_S:
            last = time.monotonic()
            say(f"unlabelled: {rows} rows read")

    return report
