"""Fit and run the n-gram view: hashed word n-grams and one linear layer, the cheap one of the two views.

Features: presence of word unigrams and bigrams, hashed without a vocabulary. Each text's vector has length 1.
Weights: logistic regression on features scaled by naive Bayes log-count ratios, as in NB-SVM (Wang and Manning 2012).
The scaling is folded into the weights, so scoring is one sparse product.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import HashingVectorizer

from tlnlp.errors import BundleError
from tlnlp.model.combine import Floats, softmax
from tlnlp.model.tensor_file import map_tensors

# Width of the hashed space for a few hundred labels.
FEATURES = 1 << 18
# Most weights of a view. Thousands of documents hold a million n-grams, and collisions cost accuracy; but every class
# needs one weight for each feature.
MOST_WEIGHTS = 1 << 22
_NOTHING: NDArray[np.float32] = np.zeros(0, dtype=np.float32)
# Log-odds of a class without any text.
ABSENT = -10.0
# A word may contain apostrophes ("don't" is one word). "!" and "?" count as words, because they express sentiment.
TOKEN_PATTERN = r"(?u)\b\w[\w']*|[!?]"


def ngram_features(texts: Sequence[str], features: int = FEATURES) -> csr_matrix:
    """Return the hashed n-grams of prepared texts, (texts, features); each row has length 1."""
    vectorizer = HashingVectorizer(
        n_features=features,
        ngram_range=(1, 2),
        token_pattern=TOKEN_PATTERN,
        binary=True,
        norm="l2",
        alternate_sign=False,
        dtype=np.float32,
    )
    return csr_matrix(vectorizer.transform(texts))


@dataclass(frozen=True)
class NgramView:
    """Hold a fitted linear layer over hashed n-grams: ``weights`` (features, classes) and ``bias`` (classes,).

    With two classes, the first has the log-odds 0, so ``weights`` may have the column of the second alone: that halves
    the largest file that a worker gets beside the encoder.
    """

    weights: NDArray[np.float32]
    bias: NDArray[np.float32]

    def predict(self, texts: Sequence[str]) -> Floats:
        """Return probabilities (texts, classes) of prepared texts."""
        if not texts:
            return np.zeros((0, len(self.bias)))
        return self.predict_features(ngram_features(texts, self.weights.shape[0]))

    def predict_features(self, features: csr_matrix) -> Floats:
        """Return probabilities (texts, classes) of hashed n-grams (texts, features) (see ``ngram_features``)."""
        scores = np.zeros((features.shape[0], len(self.bias)))
        scores[:, -self.weights.shape[1] :] = features @ self.weights
        return softmax(scores + self.bias)

    def unknown_shares(self, texts: Sequence[str]) -> Floats:
        """Return the share of each prepared text's n-grams that no text of the fit had, (texts,); 0 without n-grams."""
        if not texts:
            return np.zeros(0)
        found = ngram_features(texts, self.weights.shape[0])
        return np.array([1.0 - self._known[row.indices].mean() if row.nnz else 0.0 for row in found])

    @cached_property
    def _known(self) -> NDArray[np.int64]:
        """Return 1 for each feature with a weight, else 0, (features,)."""
        return np.asarray(self.weights.any(axis=1), dtype=np.int64)

    def save(self, path: Path) -> None:
        """Write the weights as safetensors, of two classes those of the second alone if the first has none."""
        is_one = self.weights.shape[1] == 2 and not self.weights[:, 0].any()
        weights = self.weights[:, 1:] if is_one else self.weights
        save_file({"weights": np.ascontiguousarray(weights), "bias": self.bias}, path)

    @staticmethod
    def load(path: Path) -> NgramView:
        """Load a saved view; its weights are mapped into memory, not read.

        Raises:
            BundleError: the file is not one that ``save`` wrote.
        """
        tensors = map_tensors(path)
        weights, bias = tensors.get("weights", _NOTHING), tensors.get("bias", _NOTHING)
        # Without rows, the library that hashes n-grams would divide by zero and end the process.
        sound = (
            weights.ndim == 2
            and weights.size
            and (weights.shape[1], *bias.shape) in ((1, 2), (weights.shape[1], weights.shape[1]))
        )
        if not sound or weights.dtype != np.float32 or bias.dtype != np.float32:
            raise BundleError(
                f"{path}: not the weights of an n-gram view: weights {list(weights.shape)}, bias {list(bias.shape)}; "
                "fetch the bundle from the registry again"
            )
        return NgramView(weights, np.array(bias))


def features_for(classes: int) -> int:
    """Return the width of the hashed space for thousands of documents: 2^20 for up to four classes, fewer for more."""
    return max(FEATURES, min(1 << 20, MOST_WEIGHTS // (1 << (classes - 1).bit_length())))


def fit_ngram(
    texts: Sequence[str],
    targets: Sequence[int],
    classes: int,
    seed: int,
    features: int = FEATURES,
    c: float = 10.0,
    weights: NDArray[np.float64] | None = None,
) -> NgramView:
    """Fit the view on prepared texts.

    A class without any text gets log-odds of -10.

    Args:
        targets: class indices, (texts,).
        features: width of the hashed space.
        c: inverse regularisation strength.
        weights: weight of each text in the fit, (texts,); None means 1 for all.

    Source: Wang and Manning 2012.
    """
    from sklearn.linear_model import LogisticRegression  # Scoring imports this module, too, and fits nothing.

    whole = ngram_features(texts, features).tocsc()
    # Features that no text has would get the weight 0 anyway, and make the fit many times as slow.
    seen = np.flatnonzero(np.diff(whole.indptr))
    matrix = whole[:, seen].tocsr()
    labels = np.asarray(targets)
    counts = np.ones(len(labels)) if weights is None else weights
    fitted = np.zeros((features, classes), dtype=np.float32)
    bias = np.zeros(classes, dtype=np.float32)
    # One fit for each class against the rest, with log-count ratios of its own; two classes need one fit.
    for k in range(classes) if classes > 2 else (1,):
        inside = labels == k
        if inside.all() or not inside.any():
            bias[k] = ABSENT if not inside.any() else -ABSENT
            continue
        ratio = _log_count_ratio(matrix, inside, counts, features)
        model = LogisticRegression(C=c, max_iter=1000, random_state=seed)
        model.fit(matrix.multiply(ratio).tocsr(), inside, sample_weight=counts)
        fitted[seen, k] = model.coef_[0] * ratio
        bias[k] = model.intercept_[0]
    return NgramView(fitted, bias)


def _log_count_ratio(
    matrix: Any, inside: NDArray[np.bool_], counts: NDArray[np.float64], features: int, alpha: float = 1.0
) -> NDArray[np.float32]:
    """Return the naive Bayes log-count ratio of each column of ``matrix``: texts of a class against all others.

    Args:
        matrix: sparse features, (texts, seen features).
        inside: whether a text is of the class, (texts,).
        counts: weight of each text, (texts,).
        features: width of the hashed space, unseen features included.
        alpha: smoothing, added to the count of each of the ``features``.
    """
    present = matrix.astype(bool).astype(np.float32)
    positive, negative = (np.asarray(present[rows].T @ counts[rows]).ravel() for rows in (inside, ~inside))
    ratio = np.log((positive + alpha) / (positive.sum() + alpha * features))
    ratio -= np.log((negative + alpha) / (negative.sum() + alpha * features))
    return np.asarray(ratio, dtype=np.float32)
