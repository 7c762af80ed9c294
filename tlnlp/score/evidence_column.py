"""Find the sentence that speaks most for the label of a text: the column ``evidence``, for the documents of a filter.

What a sentence contributes is measured as ``tlnlp explain`` does (``model/evidence.py``). A text costs one more
reading, and one for each of its sentences: by the n-gram view alone if this has settled the text, else by the encoder
too. Of a text over ``max_chars``, only what the model reads reaches the workers. Executors import this module.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tlnlp.errors import UsageError, did_you_mean
from tlnlp.model.combine import Floats
from tlnlp.warehouse.schema import EVIDENCE, Column

if TYPE_CHECKING:
    from pyspark import Accumulator, SparkContext
    from pyspark.sql import Column as SparkColumn

    from tlnlp.config import ScoreSettings
    from tlnlp.model.classifier import Classifier

TOP = "top"


def evidence_columns(settings: ScoreSettings) -> tuple[Column, ...]:
    """Return the column that the settings add to the table; none with ``evidence: none``."""
    return (EVIDENCE,) if settings.evidence == TOP else ()


def has_evidence(settings: ScoreSettings) -> SparkColumn:
    """Return whether a row of scores is one whose document the filter of the settings names."""
    from pyspark.sql import functions as F  # This import needs a JVM, which workers do not have.

    wanted = settings.evidence_filter
    found = F.col("score") <= wanted.most_score
    return found & F.col("label").isin(list(wanted.labels)) if wanted.labels else found


@dataclass(frozen=True)
class EvidenceFinder:
    """Find the evidence of texts in the workers, and count what it costs. A task that is repeated counts again.

    Fields:
        labels: texts with one of these labels have evidence; empty: those with any label.
        most_score: only texts with at most this score have evidence.
        texts: number of texts whose sentences were measured.
        milliseconds: time that this took, in all workers together.
    """

    labels: tuple[str, ...]
    most_score: float
    texts: Accumulator[int]
    milliseconds: Accumulator[int]

    @staticmethod
    def of(context: SparkContext, settings: ScoreSettings, classes: Sequence[str]) -> EvidenceFinder | None:
        """Return a finder with counts of zero; None if the settings ask for no evidence.

        Raises:
            UsageError: the filter names a label that the model does not have.
        """
        if settings.evidence != TOP:
            return None
        wanted = settings.evidence_filter
        for label in wanted.labels:
            if label not in classes:
                raise UsageError(
                    f"evidence_filter.labels: the model has no class {label!r}{did_you_mean(label, classes)}; it has "
                    f"{', '.join(classes)}"
                )
        return EvidenceFinder(wanted.labels, wanted.most_score, context.accumulator(0), context.accumulator(0))

    def sentences(
        self, classifier: Classifier, texts: Sequence[str], probabilities: Floats, is_read: NDArray[np.bool_]
    ) -> NDArray[np.object_]:
        """Return the evidence of each text, (texts,); None where it has none.

        Args:
            probabilities: what the model gives the texts, (texts, classes).
            is_read: False for a text that memory was too little for, (texts,).
        """
        started, found = time.monotonic(), np.full(len(texts), None, dtype=object)
        chosen = is_read & (probabilities.max(axis=1, initial=0.0) <= self.most_score)
        if self.labels:
            columns = [classifier.classes.index(label) for label in self.labels]
            chosen &= np.isin(probabilities.argmax(axis=1), columns)
        places = np.flatnonzero(chosen).tolist()
        for place in places:
            found[place] = _top_sentence(classifier, texts[place], int(probabilities[place].argmax()))
        self.texts.add(len(places))
        self.milliseconds.add(round(1000 * (time.monotonic() - started)))
        return found

    def summary(self) -> dict[str, Any]:
        """Return what the evidence of a night has cost, for the ledger."""
        return {"texts": int(self.texts.value), "core_s": round(self.milliseconds.value / 1000, 1)}


def _top_sentence(classifier: Classifier, text: str, column: int) -> str | None:
    """Return the sentence that contributes most to a class, with single spaces; None where memory is too little."""
    # The driver imports this module, too, and needs none of the libraries that run a model.
    from tlnlp.model.evidence import explain

    try:
        ranked = explain(classifier, text, classifier.classes[column]).ranked
    except MemoryError:
        return None
    return " ".join(ranked[0].text.split()) if ranked else ""
