"""Predict labelled texts with a registered version: for ``tlnlp evaluate``, and for the promotion gate."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlnlp.config import EvaluateSettings
from tlnlp.data.label_faults import DUPLICATE
from tlnlp.data.label_names import class_positions
from tlnlp.data.labels import LabelContract, LabelledSet, read_labels, require_sound
from tlnlp.errors import InputDataError
from tlnlp.evaluate.intervals import wilson
from tlnlp.evaluate.metrics import Evaluation, evaluate
from tlnlp.model.classifier import Classifier
from tlnlp.model.combine import Floats
from tlnlp.model.learned_texts import read_learned
from tlnlp.registry import ModelVersion, Registry
from tlnlp.registry.training import read_max_chars
from tlnlp.runs.progress import say


@dataclass(frozen=True)
class EvaluateResult:
    """The evaluation of a version on labels.

    Attributes:
        version: the evaluated version.
        figures: its metrics on the labels.
        trained_on: how many of the texts were labelled training texts of the version; they make its metrics too good.
        read_unlabelled: how many of the texts were unlabelled training texts of the version. Metrics on such texts are
            those of transductive learning, which is a fair measure where all documents are known before training.
    """

    version: ModelVersion
    figures: Evaluation
    trained_on: int
    read_unlabelled: int

    def to_json(self) -> dict[str, Any]:
        """Return the result as a dict of JSON types."""
        head = {"model": self.version.name, "version": self.version.version}
        interval = wilson(round(self.figures.accuracy * self.figures.n), self.figures.n)
        return (
            head
            | self.figures.to_json()
            | {
                "accuracy_interval": [round(end, 6) for end in interval],
                "trained_on": self.trained_on,
                "read_unlabelled": self.read_unlabelled,
            }
        )


@dataclass(frozen=True)
class VersionPredictions:
    """The predictions of a version on labelled texts.

    Attributes:
        version: the version.
        classes: its classes, in the order of the columns of ``probabilities``.
        probabilities: (texts, classes).
        targets: class indices of the labels (texts,).
        trained_on: how many of the texts were labelled training texts of the version.
        read_unlabelled: how many of the texts were unlabelled training texts of the version.
    """

    version: ModelVersion
    classes: tuple[str, ...]
    probabilities: Floats
    targets: NDArray[np.int64]
    trained_on: int
    read_unlabelled: int

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Return whether each prediction is correct (texts,)."""
        return np.asarray(self.probabilities.argmax(axis=1) == self.targets)

    @property
    def figures(self) -> Evaluation:
        """Return the metrics of the predictions."""
        return evaluate(self.probabilities, self.targets, self.classes)


def evaluate_version(settings: EvaluateSettings) -> EvaluateResult:
    """Measure accuracy, macro-F1, calibration and confusion of one version on labels.

    Raises:
        InputDataError: the labels cannot be read, or hold a class that the version does not predict.
        LabelFaultsError: the labels have faults, and ``on_fault`` does not skip them.
        ModelNotFoundError: there is no such model or version.
        BundleError: the bundle of the version is incomplete or altered.
        StorageError: the registry or the labels cannot be reached.
    """
    registry = Registry(settings.registry)
    version = registry.resolve(settings.model)
    predictions = predict_version(registry, version, read_evaluation_labels(settings, [version]), settings.threads)
    if predictions.trained_on:
        say(
            f"warning: {version} was trained on {predictions.trained_on} of these {len(predictions.targets)} texts: "
            "its accuracy here is higher than on new texts: evaluate it on labels that it has not seen"
        )
    return EvaluateResult(version, predictions.figures, predictions.trained_on, predictions.read_unlabelled)


def read_evaluation_labels(settings: EvaluateSettings, versions: Sequence[ModelVersion]) -> LabelledSet:
    """Read and check labels. Classes may have few labels or none, since nothing is trained on them.

    A text that is repeated with the same label is counted once, and reported. It is repeated where one of the versions
    reads no difference: what two texts share when less is cut out of them, they share when more is.
    """
    contract = LabelContract.of(settings, 0, min(map(read_max_chars, versions)))
    labelled = read_labels(settings.labels, contract)
    faults = tuple(fault for fault in labelled.faults if fault.kind != DUPLICATE)
    if repeated := len(labelled.faults) - len(faults):
        say(
            f"{labelled.uri}: {repeated} of {labelled.rows} rows repeat a text and its label: each text is counted once"
        )
    return require_sound(replace(labelled, faults=faults), settings.on_fault, min_classes=1)


def predict_version(
    registry: Registry, version: ModelVersion, labelled: LabelledSet, threads: int
) -> VersionPredictions:
    """Fetch and verify the bundle of a version, and predict every text of a labelled set.

    Raises:
        InputDataError: a label is none of the classes of the version.
    """
    with tempfile.TemporaryDirectory(prefix="tlnlp-evaluate-") as scratch:
        folder = registry.fetch(version, Path(scratch) / "bundle")
        classifier = Classifier.load(folder, threads)
        index = class_positions(classifier.classes)
        if unknown := sorted(set(labelled.counts) - index.keys()):
            raise InputDataError(
                f"{labelled.uri}: {version} cannot predict the {'label' if len(unknown) == 1 else 'labels'} "
                f"{', '.join(unknown)}; its classes are "
                f"{', '.join(classifier.classes)}: correct or remove such labels, or evaluate another version"
            )
        targets = np.asarray([index[example.label] for example in labelled.examples], dtype=np.int64)
        learned = read_learned(folder)
        trained_on, read = learned.labels_among(labelled.texts), learned.documents_among(labelled.texts)
        probabilities = classifier.predict(labelled.texts)
        return VersionPredictions(version, classifier.classes, probabilities, targets, trained_on, read)
