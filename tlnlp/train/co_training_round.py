"""One round of co-training: the labels spread to documents, both views predict these, and a student encoder learns.

The method joins co-training (Blum and Mitchell 1998), self-training (Xie et al. 2020) and label spreading (Zhou et al.
2004). A round has four steps:

1. The teacher encoder embeds labelled texts and documents, and label spreading gives each document probabilities.
2. N-gram views learn from these pseudo-labels. Each document is predicted by an n-gram view that did not learn from it,
   because a view that learns from its own predictions only becomes surer of its errors.
3. The probabilities of both views are combined.
4. The student encoder starts from the teacher's weights and learns from the combined probabilities, in short windows.

N-gram views learn from documents alone; encoders learn from documents and labels. Accuracy of either on the labels is
therefore too high, since the teachers knew the labels. Calibration uses labels that were held out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlnlp.model.calibration import expected_error, sharpness_for
from tlnlp.model.combine import Floats, combine
from tlnlp.model.ngram import NgramView
from tlnlp.model.tokenize import TokenIds
from tlnlp.runs.progress import say
from tlnlp.train.context import Run, student_key
from tlnlp.train.dataset import Examples
from tlnlp.train.document_embeddings import embed_once
from tlnlp.train.fit.encoder_fit import EncoderFit, FitResult
from tlnlp.train.fit.linear_head import LinearHead, linear_head, with_head
from tlnlp.train.label_spreading import propagate_labels
from tlnlp.train.pseudo_label_calibration import PseudoLabelCalibration, disagreement
from tlnlp.train.pseudo_labels import Documents, PseudoLabels, confidence, ngram_fit_on
from tlnlp.train.tuned_constants import TUNED

# Parts that the documents are dealt to; the n-gram view that predicts a part learns from the other parts.
PARTS = 4
# Texts that the head is fitted on, at most; more texts would hardly change it.
OF_HEAD = 5000


@dataclass(frozen=True)
class RoundPredictions:
    """What the two views predict in one round.

    Fields:
        documents: the documents of this round.
        pseudo_labels: propagated labels of these documents, then of the documents of earlier rounds.
        ngram: probabilities (documents, classes) by the n-gram views.
        combined: probabilities (documents, classes) by both views.
        head: a linear head on the teacher's embeddings, fitted to the propagated labels.
        encoder_of_labels: probabilities (labels, classes) of the labelled texts by that head.
        ngram_of_labels: probabilities (labels, classes) of the labelled texts by the n-gram views.
        weights: weights (encoder, ngram) of the log-linear pool.
    """

    documents: Documents
    pseudo_labels: PseudoLabels
    ngram: Floats
    combined: Floats
    head: LinearHead
    encoder_of_labels: Floats
    ngram_of_labels: Floats
    weights: tuple[float, float]

    @property
    def propagated(self) -> Floats:
        """Return the propagated labels of this round's documents, (documents, classes)."""
        return self.pseudo_labels.probabilities[: len(self.documents)]

    @property
    def by_both(self) -> PseudoLabels:
        """Return what both views say of this round's documents, and what label spreading said of earlier ones."""
        own = PseudoLabels(self.documents.texts, self.combined)
        return own + self.pseudo_labels.without(own.texts)

    def with_head(self, weights: dict[str, Any]) -> dict[str, Any]:
        """Return the tensors of the encoder, with the head of this round."""
        return with_head(weights, self.head)


def predict_round(
    run: Run,
    round_number: int,
    weights: dict[str, Any],
    documents: Documents,
    earlier: PseudoLabels | None,
    calibration: PseudoLabelCalibration,
) -> RoundPredictions:
    """Spread the labels to documents, fit n-gram views to the result, and predict all texts with both views.

    Args:
        weights: tensors of the teacher encoder.
        earlier: pseudo-labels of earlier rounds; n-gram views learn from these too.

    Raises:
        EngineError: a piece of work failed.
    """
    what, examples, count = f"round {round_number}", run.examples, len(documents)
    texts = documents.cut + examples.cut
    states = embed_once(run, f"states-{round_number}", weights, texts, f"{what}: reading")
    known = examples.known(count)
    propagated = calibration.calibrated(propagate_labels(states, LinearHead.of(weights), known)[:count])
    before = (earlier or PseudoLabels([], propagated[:0])).without(documents.texts)
    pseudo_labels = PseudoLabels(documents.texts, propagated)
    ngram, ngram_of_labels = _predict_by_ngrams(run, pseudo_labels, before, f"{what}: n-grams")
    pair = calibration.weights(propagated, ngram)
    head = _fit_head(states, np.vstack([propagated, known[count:]]), run.settings.seed)
    of_labels = head.predict(states[count:])
    combined = combine(propagated, ngram, *pair)
    return RoundPredictions(documents, pseudo_labels + before, ngram, combined, head, of_labels, ngram_of_labels, pair)


def fit_student(
    run: Run, round_number: int, teacher: dict[str, Any], predictions: RoundPredictions, crops: int
) -> FitResult:
    """Train the next encoder from the teacher's tensors, on documents and labels, in about ``crops`` windows.

    Raises:
        EngineError: the fit failed.
    """
    settings, examples = run.settings, run.examples
    key = student_key(round_number)
    # Random windows and soft targets regularise enough, so dropout would only cost time.
    own = settings.teaching
    changes = {"batch_size": own.batch_size, "learning_rate": own.learning_rate, "frozen_layers": own.frozen_layers}
    recipe = settings.training.model_copy(update=changes | {"dropout": 0.0})
    steps = run.resume_cache.note(f"{key}-steps", lambda: {"steps": max(1, crops // recipe.batch_size)})["steps"]
    tokens, targets, weights = student_examples(predictions, examples)
    fit = EncoderFit(
        encoder=examples.reader.encoder,
        edges=examples.reader.cut.edges,
        tokens=tokens,
        targets=targets,
        weights=weights,
        held_out=examples.cut.take(np.zeros(0, dtype=np.int64)),
        steps=int(steps),
        crop_tokens=min(settings.teaching.crop_tokens, examples.reader.max_length),
        read_tokens=examples.reader.max_length,
        objective="classify",
        seed=settings.seed * 1000 + 100 + round_number,
        recipe=recipe,
        initial=teacher,
    )
    return run.fit(key, fit, f"round {round_number}: encoder")


def final_ngram_view(run: Run, predictions: RoundPredictions) -> NgramView:
    """Fit the n-gram view of the bundle to the pseudo-labels of all rounds."""
    return ngram_fit_on(predictions.pseudo_labels, [], run.examples, run.settings).learn()


def _predict_by_ngrams(run: Run, pseudo_labels: PseudoLabels, before: PseudoLabels, what: str) -> tuple[Floats, Floats]:
    """Return n-gram probabilities of the documents and of the labels, each (texts, classes).

    Each document is predicted by the view that did not learn from it; labels are predicted by all views, averaged.
    """
    parts, labels = np.arange(len(pseudo_labels.texts)) % PARTS, len(run.examples.texts)
    ngram_fits = [
        ngram_fit_on(
            pseudo_labels.take(parts != part) + before,
            pseudo_labels.take(parts == part).texts,
            run.examples,
            run.settings,
        )
        for part in range(PARTS)
    ]
    predicted = run.executor.predict_each(ngram_fits, what)
    ngram = np.zeros_like(pseudo_labels.probabilities)
    for part in range(PARTS):
        ngram[parts == part] = predicted[part][labels:]
    return ngram, np.mean([one[:labels] for one in predicted], axis=0)


def _fit_head(states: Floats, targets: Floats, seed: int) -> LinearHead:
    """Fit a linear head to soft targets (texts, classes), and make it as sharp as these are on average."""
    count = min(OF_HEAD, len(states))
    chosen = np.random.default_rng((seed, 8)).permutation(len(states))[:count]
    classes = targets.shape[1]
    # A text stands once for each class, weighted by the probability of that class.
    rows, labels = np.nonzero(targets[chosen] > 1.0 / (100 * classes))
    head = linear_head(states[chosen][rows], labels, classes, targets[chosen][rows, labels].astype(np.float32))
    if head is None:
        return LinearHead(np.zeros((classes, states.shape[1]), np.float32), np.zeros(classes, np.float32))
    # The penalty on its weights makes a head less sure than its targets.
    power = sharpness_for(head.predict(states[chosen]), expected_error(targets[chosen]))
    return LinearHead(head.weight * np.float32(power), head.bias * np.float32(power))


def student_examples(
    predictions: RoundPredictions, examples: Examples
) -> tuple[TokenIds, NDArray[np.float32], NDArray[np.float32]]:
    """Return what a student learns from: the confident documents, and each label once.

    Returns:
        Token ids of the texts, targets (texts, classes), and sample weights (texts,).
    """
    sure = confidence(predictions.combined)
    # Where few documents are confident, the more confident half of all documents is used.
    chosen = np.flatnonzero(sure >= min(TUNED.confident, float(np.median(sure))))
    return (
        predictions.documents.whole.take(chosen) + examples.whole,
        np.vstack([predictions.combined[chosen], examples.one_hot]).astype(np.float32),
        np.concatenate([np.maximum(sure[chosen], 1e-3), np.ones(len(examples.targets))]).astype(np.float32),
    )


def round_summary(round_number: int, predictions: RoundPredictions, *, measured: bool = True) -> dict[str, Any]:
    """Log a round, and return its summary for ledger and report.

    Args:
        measured: whether labels calibrated the predictions; without, no expected accuracy is given.
    """
    agree = 1.0 - disagreement(predictions.propagated, predictions.ngram)
    sure = float((confidence(predictions.combined) >= TUNED.confident).mean())
    expected, count = 1.0 - expected_error(predictions.combined), len(predictions.documents)
    line = f"round {round_number}: the views agree on {agree:.1%} of {count} documents"
    say(f"{line}; expected accuracy: {expected:.1%}" if measured else line)
    figures = {"agreement": agree, "sure": sure} | ({"expected": expected} if measured else {})
    return {"round": round_number, "documents": count} | {name: round(figure, 4) for name, figure in figures.items()}
