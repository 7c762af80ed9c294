"""Two views teach each other on unlabelled documents.

Co-training (Blum and Mitchell 1998) with self-training (Xie et al. 2020). A round: the encoder guesses documents; the
n-gram view learns from those guesses, over the vocabulary of the corpus; the two together guess the same documents,
each document by an n-gram view that did not learn from its own guess; and a new encoder learns from what they say, in
many short windows. A view that learned from its own guesses would only grow surer of its faults.

Pupils see documents alone, never the labels. So the labels still tell, at every round, whether teaching helps.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlnlp.config import FinetuneSettings
from tlnlp.model.combine import Floats, combine, fit_weights
from tlnlp.model.encode import TokenIds
from tlnlp.model.ngram import NgramView, features_for
from tlnlp.progress import say
from tlnlp.storage import Storage
from tlnlp.train import ray_job
from tlnlp.train.examples import Examples
from tlnlp.train.fit import Fit
from tlnlp.train.kept import Kept
from tlnlp.train.pace import Pace
from tlnlp.train.ray_job import FitResult
from tlnlp.train.tasks import Lesson, guess_each, learn, read_all

# Features scaled by log-count ratios are small, and guesses many: held tighter, the view learns too little of them.
GUESSES_C = 100.0
# Documents are dealt to so many n-gram views, each of which guesses what the others learned from.
PARTS = 4
# Guesses less sure than this, on a scale from even odds to certainty, teach more faults than facts.
SURE_ENOUGH = 0.3
# Positions of held-out labels, and guesses of all labels (labels, classes), good at those positions.
Held = tuple[NDArray[np.int64], Floats]


@dataclass(frozen=True)
class Documents:
    """Unlabelled documents: ``texts`` prepared; ``whole`` and ``cut`` token ids of each."""

    texts: list[str]
    whole: TokenIds
    cut: TokenIds

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True)
class Guesses:
    """What the views say of documents: ``encoder``, ``ngram`` and ``both`` (documents, classes).

    ``encoder_of_labels`` and ``ngram_of_labels`` (labels, classes): of labelled texts; ``weights``: of the two views.
    """

    documents: Documents
    encoder: Floats
    ngram: Floats
    both: Floats
    encoder_of_labels: Floats
    ngram_of_labels: Floats
    weights: tuple[float, float]


@dataclass
class Teaching:
    """What the two views do for one another in each round of a run."""

    settings: FinetuneSettings
    examples: Examples
    storage: Storage
    kept: Kept
    run_name: str
    pace: Pace

    def guesses(
        self, round_number: int, weights: dict[str, Any], documents: Documents, held_out: Held | None = None
    ) -> Guesses:
        """What an encoder, given by its tensors, says of documents and labels; and n-gram views that learn from it.

        ``held_out``: what to weigh the encoder by where it has learned from the labels themselves.
        """
        what, examples = f"round {round_number}", self.examples
        texts = documents.cut + examples.cut
        read = self.kept.probabilities(
            f"guesses-{round_number}", lambda: self._read(weights, texts, f"{what}: reading")
        )
        encoder, of_labels = read[: len(documents)], read[len(documents) :]
        parts = np.arange(len(documents)) % PARTS
        lessons = [self._lesson(documents, encoder, parts, part) for part in range(PARTS)]
        guessed = guess_each(lessons, self.settings.ray, f"{what}: n-grams")
        ngram = np.zeros_like(encoder)
        for part in range(PARTS):
            ngram[parts == part] = guessed[part][len(examples.texts) :]
        ngram_of_labels = np.mean([found[: len(examples.texts)] for found in guessed], axis=0)
        rows, weighed = held_out if held_out is not None else (np.arange(len(of_labels)), of_labels)
        pair = fit_weights(weighed[rows], ngram_of_labels[rows], examples.targets[rows])
        both = combine(encoder, ngram, *pair)
        return Guesses(documents, encoder, ngram, both, of_labels, ngram_of_labels, pair)

    def pupil(self, round_number: int, guesses: Guesses, crops: int) -> FitResult:
        """A new encoder that learns from guesses alone, in so many windows."""
        settings = self.settings
        key = f"pupil-{round_number}"
        # Windows at random places and guesses that are no certainties blur enough; dropout would only cost time.
        changes = {"batch_size": settings.teaching.batch_size, "dropout": 0.0}
        recipe = settings.training.model_copy(update=changes)
        steps = self.kept.note(f"{key}-steps", lambda: {"steps": max(1, crops // recipe.batch_size)})["steps"]
        sure = sureness(guesses.both)
        # Where the views are sure of few documents, the surer half of them must do.
        chosen = np.flatnonzero(sure >= min(SURE_ENOUGH, float(np.median(sure))))
        fit = Fit(
            encoder=settings.encoder,
            pooling=settings.pooling,
            pad_token_id=self.examples.reader.pad_token_id,
            edges=self.examples.reader.cut.edges,
            tokens=guesses.documents.whole.take(chosen),
            targets=guesses.both[chosen].astype(np.float32),
            weights=np.maximum(sure[chosen], 1e-3).astype(np.float32),
            held_out=self.examples.cut.take(np.zeros(0, dtype=np.int64)),
            steps=int(steps),
            crop_tokens=min(settings.teaching.crop_tokens, self.examples.reader.max_length),
            read_tokens=self.examples.reader.max_length,
            objective="classify",
            seed=settings.seed * 1000 + 100 + round_number,
            recipe=recipe,
        )
        what = f"round {round_number}: encoder"
        return self.kept.fits(
            key, lambda: [ray_job.run_fit(fit, settings.ray, self.storage, f"{self.run_name}-{key}", what)]
        )[0]

    def last_ngram(self, guesses: Guesses) -> NgramView:
        """The n-gram view of the bundle, which learns from all of the last encoder's guesses."""
        lesson = self._lesson(guesses.documents, guesses.encoder, np.zeros(len(guesses.documents), dtype=np.int64), 1)
        return learn(lesson)

    def _read(self, weights: dict[str, Any], tokens: TokenIds, what: str) -> Floats:
        began_s = time.monotonic()
        found = read_all(weights, tokens, self.examples.reading(self.settings), self.settings.ray, what)
        self.pace.has_read(int(tokens.lengths.sum()), time.monotonic() - began_s)
        return found

    def _lesson(self, documents: Documents, encoder: Floats, parts: NDArray[np.int64], part: int) -> Lesson:
        """To learn from the documents outside a part, and to guess the labels and the documents in it."""
        learned, guessed = np.flatnonzero(parts != part), np.flatnonzero(parts == part)
        return Lesson(
            [documents.texts[i] for i in learned],
            encoder[learned].argmax(axis=1),
            np.maximum(sureness(encoder[learned]), 1e-3),
            [*self.examples.texts, *(documents.texts[i] for i in guessed)],
            len(self.examples.classes),
            self.settings.seed,
            GUESSES_C,
            features_for(len(self.examples.classes)),
        )


def sureness(probabilities: Floats) -> NDArray[np.float64]:
    """From 0 (even odds among the classes) to 1 (certainty), (texts,)."""
    even = 1.0 / probabilities.shape[1]
    return np.asarray((probabilities.max(axis=1) - even) / (1.0 - even))


def told_of(round_number: int, guesses: Guesses) -> dict[str, Any]:
    """What the report keeps of a round's guesses; said aloud too."""
    agree = float((guesses.encoder.argmax(axis=1) == guesses.ngram.argmax(axis=1)).mean())
    sure = float((sureness(guesses.both) >= SURE_ENOUGH).mean())
    count = len(guesses.documents)
    say(f"round {round_number}: the views agree on {agree:.1%} of {count} documents, {sure:.1%} of them sure enough")
    return {"round": round_number, "documents": count, "agreement": round(agree, 4), "sure": round(sure, 4)}
