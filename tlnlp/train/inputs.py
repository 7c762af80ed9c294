"""What a run of fine-tuning learns from, read and checked before anything is trained."""

from __future__ import annotations

import hashlib

from tlnlp.config import FinetuneSettings
from tlnlp.data.labels import LabelContract, LabelledSet, describe_faults, read_labels, require_sound
from tlnlp.data.pool import Pool, read_pool
from tlnlp.data.text import text_sha256
from tlnlp.errors import UsageError
from tlnlp.runs.ledger import Ledger
from tlnlp.runs.progress import say


def read_labelled(settings: FinetuneSettings, ledger: Ledger) -> LabelledSet:
    """The labelled set, sound; with ``allow_unvalidated`` it may be empty, or hold few texts of a class.

    Raises:
        LabelFaultsError, InputDataError, StorageError.
        UsageError: there are no labels, and not what can stand for them.
    """
    if not settings.labels:
        return _no_labels(settings)
    fewest = 0 if settings.allow_unvalidated else settings.min_per_class
    contract = LabelContract(settings.text_column, settings.label_column, settings.classes, fewest)
    found = read_labels(settings.labels, contract)
    labelled = require_sound(found, settings.on_fault, min_classes=1 if settings.allow_unvalidated else 2)
    if len(labelled.classes) < 2:
        raise UsageError(f"{labelled.uri}: a single class; name all of them by classes=...")
    if unknown := sorted(settings.class_descriptions.keys() - set(labelled.classes)):
        known = ", ".join(labelled.classes)
        raise UsageError(f"class_descriptions: {', '.join(unknown)} is no class of the labels, which are {known}")
    ledger.inputs(labelled.uri, digest=labelled.digest, rows=labelled.rows)
    ledger.counts |= {"labels": len(labelled.examples), "faults": len(labelled.faults)}
    if labelled.faults:
        say(f"labels: {len(labelled.faults)} faults skipped\n{describe_faults(labelled.faults)}")
    say(f"labels: {len(labelled.examples)} ({', '.join(f'{n} {label}' for label, n in labelled.counts.items())})")
    return labelled


def is_validated(settings: FinetuneSettings, labelled: LabelledSet) -> bool:
    """Whether there are labels enough of every class to measure a model by."""
    return min(labelled.counts.get(label, 0) for label in labelled.classes) >= settings.min_per_class


def _no_labels(settings: FinetuneSettings) -> LabelledSet:
    if not settings.allow_unvalidated:
        raise UsageError(
            "'labels' is not set; give it in the config file or as --set labels=... (or start from class names and "
            "documents alone: --set allow_unvalidated=true --set classes=... --set unlabelled=...)"
        )
    if len(settings.classes) < 2 or settings.unlabelled is None:
        raise UsageError("without labels, allow_unvalidated=true needs classes=NAME,NAME and unlabelled=URI")
    classes = tuple(sorted(set(settings.classes)))
    digest = hashlib.sha256("\n".join(classes).encode()).hexdigest()
    say(f"labels: none; {len(classes)} classes by name: {', '.join(classes)}")
    return LabelledSet("", digest, 0, (), classes)


def read_documents(settings: FinetuneSettings, labelled: LabelledSet, ledger: Ledger) -> Pool | None:
    """A sample of the unlabelled documents, none of them labelled; None where there are none to be read."""
    if settings.unlabelled is None:
        return None
    with ledger.stage("unlabelled"):
        labels = {text_sha256(text) for text in labelled.texts}
        limit = settings.teaching.max_documents
        pool = read_pool(settings.unlabelled, settings.text_column, limit, settings.seed, labels)
    ledger.inputs(pool.uri, digest=pool.digest, rows=pool.rows)
    ledger.counts |= {"unlabelled": len(pool.texts), "labelled_inside": pool.labelled_inside}
    say(
        f"unlabelled: {len(pool.texts)} distinct documents of {pool.rows}; {pool.labelled_inside} are labelled, "
        f"{pool.unusable} hold no text"
    )
    return pool
