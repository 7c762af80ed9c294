"""Predict a text, and what is left of it without each of its sentences.

A sentence is left out of what the model reads, and nothing else comes in its place: of a text that is cut, at
``max_chars`` characters or at ``max_length`` tokens, the same head and tail are read, without the sentence. So a
sentence that a view does not read changes nothing there.

- The n-gram view reads the rest as a text of its own: n-grams across the ends of the sentence vanish, the one across
  the gap appears, and the vector has length 1 again.
- The encoder reads the tokens of the rest, all rests of a text in one call of the engine.
- The two are combined by the rule that gave the text its own probabilities: the pool of both views, or, of a text that
  an earlier stage of the cascade has settled, the calibration of this stage. A rest is never settled anew. Of a text
  that the student has settled, the student reads the rests in the encoder's place.

Source: leaving out as an explanation, after Robnik-Šikonja and Kononenko 2008.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tlnlp.data.sentences import Span
from tlnlp.data.text import normalise, prepare_aligned
from tlnlp.model.cascade import ENCODER, NGRAM, STUDENT
from tlnlp.model.classifier import Classifier
from tlnlp.model.combine import FLOOR, Floats
from tlnlp.model.ngram import NgramView
from tlnlp.model.student import Student

# Characters that the n-gram view reads at once, about.
_CHARS_AT_ONCE = 1 << 21
# The place of what belongs to no sentence.
_NONE = -1
Places = NDArray[np.int64]


@dataclass(frozen=True)
class Reading:
    """What both views read of a text, and to which sentence each part of it belongs; -1 is none.

    Fields:
        spans: the sentences.
        prepared: what the n-gram view reads.
        characters: the sentence of each of its characters, (characters,).
        ids: the token ids that the encoder reads.
        tokens: the sentence of each of them, (tokens,).
    """

    spans: Sequence[Span]
    prepared: str
    characters: Places
    ids: NDArray[np.int32]
    tokens: Places

    @staticmethod
    def of(classifier: Classifier, text: str, spans: Sequence[Span]) -> Reading:
        """Return what a model reads of a text with these sentences."""
        prepared, places = prepare_aligned(text, classifier.spec.max_chars)
        characters = _sentence_at(places, spans)
        # A space belongs to the word after it, as it does where tokens begin with one.
        spaces = np.flatnonzero(np.array([character == " " for character in prepared], dtype=bool))
        characters[spaces] = characters[spaces + 1]
        ids, last = classifier.encoder.encode_aligned(prepared)
        tokens = np.array([_NONE if place < 0 else characters[place] for place in last], dtype=np.int64)
        return Reading(spans, prepared, characters, np.array(ids, dtype=np.int32), tokens)

    def sizes(self, owners: Places) -> Places:
        """Return how many characters or tokens each sentence has, (sentences,)."""
        return np.bincount(owners[owners >= 0], minlength=len(self.spans))

    def rests(self, sentences: Iterable[int]) -> Iterator[str]:
        """Yield what the n-gram view reads without each of these sentences."""
        ends = np.flatnonzero(np.diff(self.characters, append=_NONE - 1)) + 1
        parts = list(zip(self.characters[ends - 1], np.append(0, ends)[:-1], ends, strict=True))
        for sentence in sentences:
            yield normalise("".join(self.prepared[start:end] for owner, start, end in parts if owner != sentence))

    def as_read_by(self, student: Student) -> Reading:
        """Return the reading of a text whose tokens are cut to what the student reads."""
        ids, tokens = (student.encoder.shorten([values.tolist()])[0] for values in (self.ids, self.tokens))
        return replace(self, ids=np.array(ids, dtype=np.int32), tokens=np.array(tokens, dtype=np.int64))

    def rest_ids(self, sentence: int) -> NDArray[np.int32]:
        """Return the token ids that the encoder reads without a sentence."""
        return np.asarray(self.ids[self.tokens != sentence], dtype=np.int32)


@dataclass(frozen=True)
class Predictions:
    """Probabilities of a text and of its rests, (1 + sentences, classes): row 0 is the text, row 1 + i the rest of i.

    Fields:
        explained: the class, as a column.
        combined, encoder, ngram: by both views and by each; of the n-gram view None where it has no part. Of a text
            that the student has settled, ``encoder`` is the student's.
        stage: what has decided the text, one of ``cascade.STAGES``.
        reading: what was read of the text.
        tried: which sentences the encoder was read without, (sentences,).
    """

    explained: int
    combined: Floats
    encoder: Floats
    ngram: Floats | None
    stage: str
    reading: Reading
    tried: NDArray[np.bool_]


def predict_rests(classifier: Classifier, reading: Reading, label: str | None, most_sentences: int) -> Predictions:
    """Predict a text, and its rest without each sentence.

    Args:
        label: the class that is explained; None means the predicted one.
        most_sentences: most sentences that the encoder is read without (see ``evidence.explain``).
    """
    spec, cascade, sentences = classifier.spec, classifier.cascade, len(reading.spans)
    engine, stage = classifier.engine, ENCODER
    ngram = None if spec.ngram_weight == 0.0 and cascade is None else _ngram_rows(classifier.ngram, reading)
    if cascade is not None and ngram is not None:
        calibrated = cascade.calibrated(ngram)
        if cascade.settled(calibrated[:1])[0]:
            encoder = np.repeat(engine.predict([reading.ids]), 1 + sentences, axis=0)
            tried, explained = np.zeros(sentences, dtype=bool), _column(classifier, label, calibrated)
            return Predictions(explained, calibrated, encoder, ngram, NGRAM, reading, tried)
        if classifier.student is not None and cascade.student is not None:
            shorter, student = reading.as_read_by(classifier.student), classifier.student.engine
            if cascade.settled(cascade.student.apply(student.predict([shorter.ids]), ngram[:1]))[0]:
                engine, stage, reading = student, STUDENT, shorter
    encoder = np.repeat(engine.predict([reading.ids]), 1 + sentences, axis=0)
    if spec.ngram_weight == 0.0 and stage == ENCODER:
        ngram = None

    def pooled() -> Floats:
        """Return the probabilities by the rule of the stage."""
        if stage == STUDENT and cascade is not None and cascade.student is not None and ngram is not None:
            return cascade.student.apply(encoder, ngram)
        return spec.combined(encoder, encoder if ngram is None else ngram)

    explained = _column(classifier, label, pooled())
    tried = _chosen(reading, None if ngram is None else changes(ngram, explained), most_sentences)
    if tried.any():
        rests = [reading.rest_ids(sentence) for sentence in np.flatnonzero(tried).tolist()]
        encoder[1:][tried] = engine.predict(rests)
    return Predictions(explained, pooled(), encoder, ngram, stage, reading, tried)


def _ngram_rows(view: NgramView, reading: Reading) -> Floats:
    """Return the n-gram view's probabilities of a text and its rests, (1 + sentences, classes)."""
    rows = np.repeat(view.predict([reading.prepared]), 1 + len(reading.spans), axis=0)
    read = np.flatnonzero(reading.sizes(reading.characters))
    at_once = max(1, _CHARS_AT_ONCE // max(1, len(reading.prepared)))
    for first in range(0, len(read), at_once):
        sentences = read[first : first + at_once]
        rows[1 + sentences] = view.predict(list(reading.rests(sentences)))
    return rows


def _chosen(reading: Reading, ngram: Floats | None, most: int) -> NDArray[np.bool_]:
    """Return which of the sentences that the encoder reads it is read without, (sentences,).

    Args:
        ngram: what each sentence changes in the n-gram view, (sentences,).
        most: most sentences to choose.
    """
    sizes = reading.sizes(reading.tokens)
    chosen = sizes > 0
    if chosen.sum() <= most:
        return chosen
    chosen[:] = False
    if ngram is not None:
        chosen[np.argsort(np.where(sizes > 0, -np.abs(ngram), np.inf), kind="stable")[: most // 2]] = True
    longest = np.argsort(np.where(chosen, 0, -sizes), kind="stable")
    chosen[longest[: most - int(chosen.sum())]] = True
    return chosen


def _sentence_at(places: Places, spans: Sequence[Span]) -> Places:
    """Return the sentence at each place in a text; -1 between sentences and for the place -1."""
    if not spans:
        return np.full(len(places), _NONE)
    starts, ends = np.array(spans, dtype=np.int64).T
    found = np.searchsorted(starts, places, side="right") - 1
    return np.where((found >= 0) & (places < ends[found]), found, _NONE)


def _column(classifier: Classifier, label: str | None, rows: Floats) -> int:
    return int(rows[0].argmax()) if label is None else classifier.classes.index(label)


def changes(rows: Floats, k: int) -> Floats:
    """Return how much less the log-odds of class k are without each sentence, (sentences,)."""
    others = np.delete(rows, k, axis=1).sum(axis=1)
    log_odds = np.log(np.maximum(rows[:, k], FLOOR)) - np.log(np.maximum(others, FLOOR))
    return np.asarray(log_odds[0] - log_odds[1:])
