"""Held against labels: one version on its own (``evaluate``), and what the promotion gate asks of two."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlnlp.config import EvaluateSettings
from tlnlp.data.labels import LabelContract, LabelledSet, read_labels, require_sound
from tlnlp.data.text import text_sha256
from tlnlp.errors import InputDataError
from tlnlp.evaluate.metrics import Evaluation, evaluate
from tlnlp.model import bundle
from tlnlp.model.classifier import Classifier
from tlnlp.model.combine import Floats
from tlnlp.registry import ModelVersion, Registry


@dataclass(frozen=True)
class EvaluateResult:
    """``trained_on``: how many of the texts the version was trained on; a figure with such texts flatters it.

    ``read_unlabelled``: how many it learned from as documents, without a label; their figure is of a model that has
    read what it is asked about (transductive), which is fair where all documents are there beforehand.
    """

    version: ModelVersion
    figures: Evaluation
    trained_on: int
    read_unlabelled: int

    def to_json(self) -> dict[str, Any]:
        head = {"model": self.version.name, "version": self.version.version}
        return head | self.figures.to_json() | {"trained_on": self.trained_on, "read_unlabelled": self.read_unlabelled}


@dataclass(frozen=True)
class Reading:
    """A version's answers on a labelled set: ``probabilities`` (texts, classes), ``targets`` (texts,)."""

    version: ModelVersion
    classes: tuple[str, ...]
    probabilities: Floats
    targets: NDArray[np.int64]
    seen: int
    read_unlabelled: int

    @property
    def correct(self) -> NDArray[np.bool_]:
        return np.asarray(self.probabilities.argmax(axis=1) == self.targets)

    @property
    def figures(self) -> Evaluation:
        return evaluate(self.probabilities, self.targets, self.classes)


def evaluate_version(settings: EvaluateSettings) -> EvaluateResult:
    """Accuracy, macro-F1, calibration and confusion of one version on labels.

    Raises:
        InputDataError, LabelFaultsError, NotFoundError, BundleError, StorageError.
    """
    registry = Registry(settings.registry)
    version = registry.resolve(settings.model)
    answers = read_answers(registry, version, read_held_out(settings), settings.threads)
    return EvaluateResult(version, answers.figures, answers.seen, answers.read_unlabelled)


def read_held_out(settings: EvaluateSettings) -> LabelledSet:
    """A sound labelled set; classes may be few or missing in it, since nothing is trained on it."""
    contract = LabelContract(settings.text_column, settings.label_column, settings.classes, min_per_class=0)
    labelled = read_labels(settings.labels, contract)
    return require_sound(labelled, settings.on_fault, min_classes=1)


def read_answers(registry: Registry, version: ModelVersion, labelled: LabelledSet, threads: int) -> Reading:
    """Fetch, verify and run a version on every text of a set.

    Raises:
        InputDataError: a label is none of the version's classes.
    """
    with tempfile.TemporaryDirectory(prefix="tlnlp-evaluate-") as scratch:
        folder = registry.fetch(version, Path(scratch) / "bundle")
        classifier = Classifier.load(folder, threads)
        index = {label: position for position, label in enumerate(classifier.classes)}
        if unknown := sorted(set(labelled.counts) - index.keys()):
            raise InputDataError(
                f"{labelled.uri}: label {', '.join(unknown)} is no class of {version}, which knows "
                f"{', '.join(classifier.classes)}"
            )
        targets = np.asarray([index[example.label] for example in labelled.examples], dtype=np.int64)
        digests = [text_sha256(text) for text in labelled.texts]
        learned = bundle.read_learned(folder)
        seen, read = learned.labels_among(digests), learned.documents_among(digests)
        return Reading(version, classifier.classes, classifier.predict(labelled.texts), targets, seen, read)
