"""Read candidate documents with the model, and say how doubtful, how disputed and how novel each is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from tlnlp.data.text import prepare
from tlnlp.labelling.selection import DOUBT, NOVEL, VIEWS_DISAGREE, Candidates, disagreement, margin_doubt
from tlnlp.model.classifier import Classifier
from tlnlp.model.ngram import ngram_features
from tlnlp.runs.progress import meter

# Texts between two signs of progress.
_READ_AT_ONCE = 64

Floats = NDArray[np.float64]


def read_candidates(
    classifier: Classifier, texts: Sequence[str], drawn: Sequence[int], labelled: Sequence[str]
) -> Candidates:
    """Return the candidates with the signals of each.

    Args:
        texts: their texts.
        drawn: the positions of those that were drawn at random.
        labelled: texts that have labels: a text is novel if it is unlike all of them.
    """
    encoder, ngram = _views(classifier, texts)
    both, most = classifier.spec.combined(encoder, ngram), classifier.spec.max_chars
    features = ngram_features([prepare(text, most) for text in texts])
    signals = {DOUBT: margin_doubt(both), VIEWS_DISAGREE: disagreement(encoder, ngram)}
    if classifier.spec.ngram_weight == 0:
        del signals[VIEWS_DISAGREE]
    if labelled:
        signals[NOVEL] = novelty(features, ngram_features([prepare(text, most) for text in labelled]))
    return Candidates(drawn, both, signals, features)


def novelty(features: csr_matrix, labelled: csr_matrix) -> Floats:
    """Return 1 minus the largest cosine of each text to a labelled one, (texts,).

    Args:
        features: n-grams (texts, features), each row of length 1.
        labelled: those of the labelled texts.
    """
    parts = []
    for start in range(0, features.shape[0], _READ_AT_ONCE):
        similar = features[start : start + _READ_AT_ONCE] @ labelled.T
        parts.append(similar.max(axis=1).toarray().ravel())
    return np.asarray(1.0 - np.concatenate(parts))


def _views(classifier: Classifier, texts: Sequence[str]) -> tuple[Floats, Floats]:
    parts = []
    with meter("reading candidates", len(texts)) as shown:
        for start in range(0, len(texts), _READ_AT_ONCE):
            parts.append(classifier.views(texts[start : start + _READ_AT_ONCE]))
            shown.update(min(len(texts), start + _READ_AT_ONCE))
    encoder, ngram = (np.vstack(views) for views in zip(*parts, strict=True))
    return encoder, ngram
