"""The Python API: fine-tune a classifier, load one, predict, evaluate; in the conventions of scikit-learn.

classifier = tlnlp.finetune((texts, labels), model="tickets")
classifier = tlnlp.Classifier.load("tickets@champion")
classifier.predict(texts)
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tlnlp.config import DEFAULT_WORKSPACE, FinetuneSettings, load_settings
from tlnlp.data.label_faults import SEVERAL_LABELS
from tlnlp.data.label_names import class_positions, is_several, label_name
from tlnlp.data.text import has_surrogates
from tlnlp.errors import InputDataError, UsageError, did_you_mean
from tlnlp.evaluate.metrics import Evaluation
from tlnlp.evaluate.metrics import evaluate as evaluate_probabilities
from tlnlp.model import classifier as loaded
from tlnlp.model.bundle import MANIFEST
from tlnlp.model.combine import Floats
from tlnlp.model.evidence import MOST_SENTENCES, Evidence, explain
from tlnlp.registry import Registry
from tlnlp.runs import environment

if TYPE_CHECKING:
    import pandas as pd

DEFAULT_REGISTRY = f"{DEFAULT_WORKSPACE}/registry"


class Classifier:
    """A model version, ready to predict. Load one with ``Classifier.load``, or make one with ``tlnlp.finetune``.

    Attributes:
        classes_: class names, in the order of the columns of ``predict_proba``.
    """

    def __init__(self, model: loaded.Classifier) -> None:
        self._model = model
        self.classes_: NDArray[np.str_] = np.array(model.classes)

    @classmethod
    def load(cls, where: str | Path, registry: str | Path = DEFAULT_REGISTRY) -> Classifier:
        """Load a model version.

        Args:
            where: a folder that holds a bundle; or ``name@VERSION``, ``name@champion`` or ``name`` (its champion).
            registry: path or URI of the registry that a name is looked up in.

        Raises:
            ModelNotFoundError: the registry has no such model or version.
            BundleError: a file of the bundle is missing or altered.
            StorageError: the registry cannot be reached.
        """
        if (Path(where) / MANIFEST).is_file():
            return cls(loaded.Classifier.load(Path(where)))
        versions = Registry(str(registry))
        with tempfile.TemporaryDirectory(prefix="tlnlp-load-") as scratch:
            folder = versions.fetch(versions.resolve(str(where)), Path(scratch) / "bundle")
            return cls(loaded.Classifier.load(folder))

    def predict(self, texts: Iterable[str]) -> NDArray[np.str_]:
        """Return the most probable class of each text, (texts,). ``texts``: a list, a Series or an array of strings.

        Raises:
            UsageError: ``texts`` is one string, or holds something that is not a string.
        """
        return np.asarray(self.classes_[self.predict_proba(texts).argmax(axis=1)])

    def predict_proba(self, texts: Iterable[str]) -> Floats:
        """Return calibrated probabilities, (texts, classes). Raises UsageError as ``predict`` does."""
        return self._model.predict(_texts(texts))

    def predict_frame(self, texts: Iterable[str]) -> pd.DataFrame:
        """Return a DataFrame with a row a text, in the order and with the index of ``texts``.

        Its columns are ``label``, ``score`` (the probability of the label) and ``probabilities`` (class name to
        probability), as in the table of a night. Raises UsageError as ``predict`` does.
        """
        import pandas as pd

        probabilities = self.predict_proba(texts)
        named = [dict(zip(self.classes_.tolist(), row.tolist(), strict=True)) for row in probabilities]
        columns = {
            "label": self.classes_[probabilities.argmax(axis=1)],
            "score": probabilities.max(axis=1),
            "probabilities": named,
        }
        return pd.DataFrame(columns, index=texts.index if isinstance(texts, pd.Series) else None)

    def explain(self, text: str, label: str | None = None, most_sentences: int = MOST_SENTENCES) -> Evidence:
        """Measure what each sentence of one text contributes to its label.

            for sentence in classifier.explain(text).ranked:
                print(sentence.contribution, sentence.text)

        Args:
            label: the class to explain; None means the predicted one.
            most_sentences: most sentences that the encoder is read without. Of a text with more, half of them are
                those that move the n-gram view most, and the others are the longest of the rest.

        Raises:
            UsageError: ``text`` is not a string or holds half a surrogate pair, or the model has no such class.
        """
        if not isinstance(text, str):
            raise UsageError(f"the text is {type(text).__name__}, not a string: explain one text at a time")
        return explain(self._model, text, label, most_sentences)

    def score(self, texts: Iterable[str], labels: Iterable[object]) -> float:
        """Return the share of texts whose predicted class is their label. Raises as ``evaluate`` does."""
        return self.evaluate(texts, labels).accuracy

    def evaluate(self, texts: Iterable[str], labels: Iterable[object]) -> Evaluation:
        """Compare predictions with labels: accuracy, macro-F1, calibration error, F1 by class, confusion.

        Raises:
            UsageError: there are no texts, or not as many labels as texts; or as ``predict`` does.
            InputDataError: a label is none of ``classes_``.
        """
        given = [label_name(label) for label in labels]
        probabilities = self.predict_proba(texts)
        if len(given) != len(probabilities) or not given:
            raise UsageError(f"{len(probabilities)} texts and {len(given)} labels: give one label for each text")
        classes = tuple(self.classes_.tolist())
        index = class_positions(classes)
        if unknown := sorted(set(given) - index.keys()):
            raise InputDataError(
                f"no class of this model: {len(unknown)} of the labels; its classes are {', '.join(classes)}"
            )
        targets = np.array([index[label] for label in given], dtype=np.int64)
        return evaluate_probabilities(probabilities, targets, classes)


def finetune(
    labels: str | Path | pd.DataFrame | tuple[Iterable[str], Iterable[object]],
    *,
    registry: str | Path = DEFAULT_REGISTRY,
    **settings: Any,
) -> Classifier:
    """Fine-tune a classifier, register it as a new version, and load it.

    Args:
        labels: labelled examples: a path or URI of Parquet, JSON Lines or CSV; a DataFrame with the columns ``text``
            and ``label``; or a pair of lists, texts and labels.
        registry: path or URI of the registry that the version goes to.
        settings: any key of ``conf/finetune.yaml``, such as ``model``, ``unlabelled`` or ``time_budget_s``.

    Warns:
        UserWarning: something in the labels is allowed, but seldom meant, such as the classes ``Yes`` and ``yes``.

    Raises:
        UsageError: a key is unknown, or a value does not fit.
        LabelFaultsError: the labelled set has faults, each reported by row.
        TlnlpError: another failure of the run, by its kind (see ``tlnlp.errors``).
    """
    environment.apply_defaults()  # Libraries read some of these variables when they are imported.
    from tlnlp.train.finetune import finetune as run

    with tempfile.TemporaryDirectory(prefix="tlnlp-labels-") as scratch:
        given = labels if isinstance(labels, (str, Path)) else _written(labels, Path(scratch), settings)
        values = {"labels": str(given), "registry": str(registry)} | settings
        result = run(load_settings(FinetuneSettings, given=values))
    for warning in result.warnings:
        warnings.warn(f"labels: {warning}", stacklevel=2)
    return Classifier.load(str(result.version), registry)


def _written(
    labels: pd.DataFrame | tuple[Iterable[str], Iterable[object]], folder: Path, settings: Mapping[str, Any]
) -> Path:
    """Write labelled examples to a file, where the stage reads them as it reads any other."""
    names = settings.get("text_column", "text"), settings.get("label_column", "label")
    if isinstance(labels, tuple):
        texts, given = ([*column] for column in labels)
    else:
        if missing := [name for name in names if name not in labels]:
            columns = [str(column) for column in labels]
            raise UsageError(
                f"the DataFrame of labels has no column {', '.join(missing)}; it has {', '.join(columns)}"
                f"{did_you_mean(missing[0], columns)}; name your columns by text_column= and label_column="
            )
        texts, given = (labels[name].tolist() for name in names)
    if len(texts) != len(given):
        raise UsageError(f"{len(texts)} texts and {len(given)} labels: give one label a text")
    for position, label in enumerate(given):
        if is_several(label):
            raise UsageError(f"label {position} is a {type(label).__name__}: {SEVERAL_LABELS}")
    # What is no label, None or NaN, has no name, and is reported as a fault by row.
    named = [label_name(label) for label in given]
    path = folder / "labels.parquet"
    pq.write_table(pa.table(dict(zip(names, (_texts(texts), named), strict=True))), path)
    return path


def _texts(texts: Any) -> list[str]:
    """Return texts as a list. Raises UsageError, by position, where one is not a string of valid Unicode."""
    if isinstance(texts, (str, bytes)):
        raise UsageError("texts is one string: give a list of texts, as in [text]")
    listed = list(texts)
    for position, text in enumerate(listed):
        if not isinstance(text, str):
            raise UsageError(f"text {position} is {type(text).__name__}, not a string: leave it out or convert it")
        if has_surrogates(text):
            raise UsageError(f"text {position} holds half a surrogate pair, which is no character: decode it again")
    return listed
