"""Documents without labels teach: what labels say spreads to them, and two views learn from one another's guesses.

Co-training (Blum and Mitchell 1998) with self-training (Xie et al. 2020) and label spreading (Zhou et al. 2004). A
round: an encoder places labels and documents in one space; the labels spread to the documents near them; the n-gram
view learns from what they became, over the vocabulary of the corpus; the two together guess the same documents, each
document by an n-gram view that did not learn from its own guess; and the encoder learns on from what they say, in many
short windows. A view that learned from its own guesses would only grow surer of its faults.

N-gram views learn from documents alone, encoders from labels beside them. How often either is right about labels then
flatters, as the labels reached their teachers; confidence comes from labels that were held out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlnlp.model.combine import Floats, combine, expected_error, sharpness_for
from tlnlp.model.ngram import NgramView
from tlnlp.model.tokenize import TokenIds
from tlnlp.runs.progress import say
from tlnlp.train.context import Run, pupil
from tlnlp.train.dataset import Examples
from tlnlp.train.fit.encoder_fit import EncoderFit, FitResult
from tlnlp.train.fit.linear_head import LinearHead, linear_head, with_head
from tlnlp.train.label_spreading import propagate_labels
from tlnlp.train.pseudo_label_calibration import PseudoLabelCalibration, disagreement
from tlnlp.train.pseudo_labels import Documents, PseudoLabels, confidence, ngram_fit_on

# Documents are dealt to so many n-gram views, each of which guesses what the others learned from.
PARTS = 4
# Predictions less sure than this, on a scale from even odds to certainty, teach more faults than facts.
CONFIDENT = 0.3
# Documents that the head is fitted on, at most; more would not move it.
OF_HEAD = 5000


@dataclass(frozen=True)
class RoundPredictions:
    """What is said of documents: by labels ``near`` them, by ``ngram`` and by ``both``, each (documents, classes).

    ``told``: of these documents and of all that were read before them, what was said last; n-gram views learn from it.
    ``head``: weight (classes, hidden) and bias (classes,), by which the encoder says the same of any text;
    ``encoder_of_labels`` and ``ngram_of_labels`` (labels, classes): of labelled texts; ``weights``: of the two views.
    """

    documents: Documents
    told: PseudoLabels
    ngram: Floats
    both: Floats
    head: LinearHead
    encoder_of_labels: Floats
    ngram_of_labels: Floats
    weights: tuple[float, float]

    @property
    def near(self) -> Floats:
        return self.told.near[: len(self.documents)]

    def headed(self, weights: dict[str, Any]) -> dict[str, Any]:
        """The tensors of the encoder, with the head that fits these guesses."""
        return with_head(weights, self.head)


def predict_round(
    run: Run,
    round_number: int,
    weights: dict[str, Any],
    documents: Documents,
    earlier: PseudoLabels | None,
    calibration: PseudoLabelCalibration,
) -> RoundPredictions:
    """What labels say of the documents near them, in the space of an encoder given by its tensors, and what n-gram
    views learn from that and from what ``earlier`` rounds were told. Raises EngineError."""
    what, examples, count = f"round {round_number}", run.examples, len(documents)
    texts = documents.cut + examples.cut
    states = embed_once(run, f"states-{round_number}", weights, texts, f"{what}: reading")
    known = examples.known(count)
    near = calibration.near(propagate_labels(states, LinearHead.of(weights), known)[:count])
    before = (earlier or PseudoLabels([], near[:0])).besides(documents.texts)
    ngram, ngram_of_labels = _ngrams(run, PseudoLabels(documents.texts, near), before, f"{what}: n-grams")
    pair = calibration.weights(near, ngram)
    head = _head(states, np.vstack([near, known[count:]]), run.settings.seed)
    of_labels = head.predict(states[count:])
    both = combine(near, ngram, *pair)
    told = PseudoLabels(documents.texts, near) + before
    return RoundPredictions(documents, told, ngram, both, head, of_labels, ngram_of_labels, pair)


def fit_student(
    run: Run, round_number: int, teacher: dict[str, Any], guesses: RoundPredictions, crops: int
) -> FitResult:
    """The encoder of these tensors, which learns on from guesses and labels, in so many windows. Raises EngineError."""
    settings, examples = run.settings, run.examples
    key = pupil(round_number)
    # Windows at random places and guesses that are no certainties blur enough; dropout would only cost time.
    own = settings.teaching
    changes = {"batch_size": own.batch_size, "learning_rate": own.learning_rate, "frozen_layers": own.frozen_layers}
    recipe = settings.training.model_copy(update=changes | {"dropout": 0.0})
    steps = run.artifacts.note(f"{key}-steps", lambda: {"steps": max(1, crops // recipe.batch_size)})["steps"]
    tokens, targets, weights = student_examples(guesses, examples)
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


def final_ngram_view(run: Run, guesses: RoundPredictions) -> NgramView:
    """The n-gram view of the bundle, which learns from all that was told of documents."""
    return ngram_fit_on(guesses.told, [], run.examples, run.settings).learn()


def _ngrams(run: Run, told: PseudoLabels, before: PseudoLabels, what: str) -> tuple[Floats, Floats]:
    """What n-gram views that learned from other documents say of each, and what they say of labels."""
    parts, labels = np.arange(len(told.texts)) % PARTS, len(run.examples.texts)
    ngram_fits = [
        ngram_fit_on(told.take(parts != part) + before, told.take(parts == part).texts, run.examples, run.settings)
        for part in range(PARTS)
    ]
    guessed = run.executor.predict_each(ngram_fits, what)
    ngram = np.zeros_like(told.near)
    for part in range(PARTS):
        ngram[parts == part] = guessed[part][labels:]
    return ngram, np.mean([found[:labels] for found in guessed], axis=0)


def embed_once(run: Run, key: str, weights: dict[str, Any] | None, tokens: TokenIds, what: str) -> Floats:
    """Pooled states (texts, hidden) by an encoder of these tensors, or as pretrained; read once under a key.

    Raises EngineError.
    """

    def read() -> Floats:
        states, rate = run.executor.embed(tokens, weights, run.examples.embedding(run.settings), what)
        run.time_budget.record_reading_throughput(rate)
        return states

    return run.artifacts.array(key, read)


def _head(states: Floats, said: Floats, seed: int) -> LinearHead:
    """A linear head that says of texts, by their states, what was said of them, and as surely on the whole."""
    count = min(OF_HEAD, len(states))
    chosen = np.random.default_rng((seed, 8)).permutation(len(states))[:count]
    classes = said.shape[1]
    # A text counts for each class by the probability that it is of it.
    rows, of = np.nonzero(said[chosen] > 1.0 / (100 * classes))
    head = linear_head(states[chosen][rows], of, classes, said[chosen][rows, of].astype(np.float32))
    if head is None:
        return LinearHead(np.zeros((classes, states.shape[1]), np.float32), np.zeros(classes, np.float32))
    # The penalty on its weights makes a head less sure than what it was fitted to.
    power = sharpness_for(head.predict(states[chosen]), expected_error(said[chosen]))
    return LinearHead(head.weight * np.float32(power), head.bias * np.float32(power))


def student_examples(
    guesses: RoundPredictions, examples: Examples
) -> tuple[TokenIds, NDArray[np.float32], NDArray[np.float32]]:
    """Texts, what they are (texts, classes), and how much each counts (texts,): documents of which the views are sure
    enough, and the labels, once each."""
    sure = confidence(guesses.both)
    # Where the views are sure of few documents, the surer half of them must do.
    chosen = np.flatnonzero(sure >= min(CONFIDENT, float(np.median(sure))))
    return (
        guesses.documents.whole.take(chosen) + examples.whole,
        np.vstack([guesses.both[chosen], examples.one_hot]).astype(np.float32),
        np.concatenate([np.maximum(sure[chosen], 1e-3), np.ones(len(examples.targets))]).astype(np.float32),
    )


def round_summary(round_number: int, guesses: RoundPredictions, *, measured: bool = True) -> dict[str, Any]:
    """What the report keeps of a round's guesses; said aloud too.

    ``measured``: labels say how many documents to expect right; else no such figure is given.
    """
    agree = 1.0 - disagreement(guesses.near, guesses.ngram)
    sure = float((confidence(guesses.both) >= CONFIDENT).mean())
    expected, count = 1.0 - expected_error(guesses.both), len(guesses.documents)
    told = f"round {round_number}: the views agree on {agree:.1%} of {count} documents"
    say(f"{told}; {expected:.1%} expected right" if measured else told)
    figures = {"agreement": agree, "sure": sure} | ({"expected": expected} if measured else {})
    return {"round": round_number, "documents": count} | {name: round(figure, 4) for name, figure in figures.items()}
