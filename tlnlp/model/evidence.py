"""Measure what each sentence of a text contributes to its label: the prediction with it, minus the one without it.

``leave_out`` says what is predicted without a sentence. The part of the n-gram view is exact, not an estimate from its
weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tlnlp.data.sentences import split_sentences
from tlnlp.data.text import has_surrogates
from tlnlp.errors import UsageError, did_you_mean
from tlnlp.model.cascade import ENCODER, NGRAM
from tlnlp.model.classifier import Classifier
from tlnlp.model.combine import Floats
from tlnlp.model.leave_out import Predictions, Reading, changes, predict_rests

# Most sentences of a text that the encoder is read without.
MOST_SENTENCES = 50
# Which views read a sentence, or a part of it; beside ``ENCODER`` and ``NGRAM``, one of the two alone.
BOTH, UNREAD = "both", "unread"
# The same, by whether the encoder and the n-gram view read it.
_READ = {(True, True): BOTH, (True, False): ENCODER, (False, True): NGRAM, (False, False): UNREAD}


@dataclass(frozen=True)
class SentenceEvidence:
    """What one sentence contributes to a class; a positive number speaks for the class.

    Fields:
        start, end: where the sentence is in the text, in characters (code points).
        text: the sentence.
        contribution: the probability of the class with the sentence, minus the one without it. None: not measured,
            since the text has too many sentences.
        log_odds: the same difference in the logarithm of the odds of the class, in nats; None as above.
        ngram: the difference in log-odds in the n-gram view alone; None where this view has no part in the model.
        encoder: the difference in log-odds in the encoder alone; None where it was not measured, and where the n-gram
            view has settled the text.
        read: which views read the sentence or a part of it: ``both``, ``ngram``, ``encoder`` or ``unread``.
    """

    start: int
    end: int
    text: str
    contribution: float | None
    log_odds: float | None
    ngram: float | None
    encoder: float | None
    read: str


@dataclass(frozen=True)
class Evidence:
    """What a model says about a text, and what each of its sentences contributes.

    Fields:
        label: the predicted class.
        explained: the class that the sentences contribute to.
        probabilities: class to probability.
        encoder, ngram: the same by each view alone; of the n-gram view None where it has no part in the model. Of a
            text that the student has settled, ``encoder`` is what the student says.
        stage: what has decided the text: ``encoder`` (both views), ``ngram``, or ``student`` (with the n-gram view).
        sentences: in the order of the text.
    """

    label: str
    explained: str
    probabilities: dict[str, float]
    encoder: dict[str, float]
    ngram: dict[str, float] | None
    stage: str
    sentences: tuple[SentenceEvidence, ...]

    @property
    def ranked(self) -> tuple[SentenceEvidence, ...]:
        """Return the sentences, what speaks most for the class first, what was not measured last."""
        return tuple(sorted(self.sentences, key=lambda one: np.inf if one.log_odds is None else -one.log_odds))

    @property
    def unmeasured(self) -> int:
        """Return how many sentences were not left out, since the text has too many."""
        return sum(one.contribution is None for one in self.sentences)

    def to_json(self) -> dict[str, Any]:
        """Return all fields as JSON types."""
        return {
            "label": self.label,
            "explained": self.explained,
            "probabilities": self.probabilities,
            "views": {"encoder": self.encoder, "ngram": self.ngram},
            "stage": self.stage,
            "unmeasured": self.unmeasured,
            "sentences": [asdict(one) for one in self.sentences],
        }


def explain(
    classifier: Classifier, text: str, label: str | None = None, most_sentences: int = MOST_SENTENCES
) -> Evidence:
    """Measure what each sentence of a text contributes to a class.

    This costs a reading of the text by both views, and one more for each sentence: by both, or by the n-gram view alone
    if it has settled the text.

    Args:
        label: the class; None means the predicted one.
        most_sentences: most sentences that the encoder is read without. Of a text with more, half of them are those
            that move the n-gram view most, and the others are the longest of the rest.

    Raises:
        UsageError: the model has no such class, or the text holds half a surrogate pair.
    """
    if label is not None and label not in classifier.classes:
        known = ", ".join(classifier.classes)
        raise UsageError(f"the model has no class {label!r}{did_you_mean(label, classifier.classes)}; it has {known}")
    if has_surrogates(text):
        raise UsageError("the text holds half a surrogate pair, which is no character: decode its bytes again")
    reading = Reading.of(classifier, text, split_sentences(text))
    predicted = predict_rests(classifier, reading, label, most_sentences)
    return Evidence(
        label=classifier.classes[int(predicted.combined[0].argmax())],
        explained=classifier.classes[predicted.explained],
        probabilities=_by_class(classifier, predicted.combined[0]),
        encoder=_by_class(classifier, predicted.encoder[0]),
        ngram=None if predicted.ngram is None else _by_class(classifier, predicted.ngram[0]),
        stage=predicted.stage,
        sentences=tuple(_sentences(text, predicted)),
    )


def _sentences(text: str, predicted: Predictions) -> Iterator[SentenceEvidence]:
    """Yield the evidence of each sentence."""
    k, ngram, reading, by_ngram_alone = (
        predicted.explained,
        predicted.ngram,
        predicted.reading,
        predicted.stage == NGRAM,
    )
    by_ngram = (reading.sizes(reading.characters) > 0) & (ngram is not None)
    by_encoder = (reading.sizes(reading.tokens) > 0) & (not by_ngram_alone)
    contribution = predicted.combined[0, k] - predicted.combined[1:, k]
    log_odds, encoder = changes(predicted.combined, k), changes(predicted.encoder, k)
    ngrams = None if ngram is None else changes(ngram, k)
    for i, (start, end) in enumerate(reading.spans):
        is_measured = bool(predicted.tried[i] or not by_encoder[i])
        yield SentenceEvidence(
            start,
            end,
            text[start:end],
            contribution=float(contribution[i]) if is_measured else None,
            log_odds=float(log_odds[i]) if is_measured else None,
            ngram=None if ngrams is None else float(ngrams[i]),
            encoder=float(encoder[i]) if is_measured and not by_ngram_alone else None,
            read=_READ[bool(by_encoder[i]), bool(by_ngram[i])],
        )


def _by_class(classifier: Classifier, row: Floats) -> dict[str, float]:
    return dict(zip(classifier.classes, row.tolist(), strict=True))
