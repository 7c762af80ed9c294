"""The cheap view: hashed word n-grams and one linear layer, thousands of documents a second on a core.

Features: presence of word uni- and bigrams, hashed (stateless), each text scaled to length 1 after weighting.
Weights: logistic regression on features scaled by naive Bayes log-count ratios (NB-SVM's features, Wang and Manning
2012); the scaling is folded into the weights, so that scoring is one sparse product.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import LogisticRegression

from tlnlp.errors import BundleError
from tlnlp.model.combine import Floats, softmax

FEATURES = 1 << 18
# Documents by the thousand hold a million n-grams, and fewer places for them cost accuracy; but each class has as many.
MOST_WEIGHTS = 1 << 22
MAX_HEADER_BYTES = 1 << 20
# The log-odds of a class that was never seen.
ABSENT = -10.0
# Words with inner apostrophes, so that "don't" is one word, and the marks that carry mood.
TOKEN_PATTERN = r"(?u)\b\w[\w']*|[!?]"


def _vectorizer(features: int) -> HashingVectorizer:
    return HashingVectorizer(
        n_features=features,
        ngram_range=(1, 2),
        token_pattern=TOKEN_PATTERN,
        binary=True,
        norm="l2",
        alternate_sign=False,
        dtype=np.float32,
    )


@dataclass(frozen=True)
class NgramView:
    """``weights`` (features, classes) and ``bias`` (classes,), both float32."""

    weights: NDArray[np.float32]
    bias: NDArray[np.float32]

    def predict(self, texts: Sequence[str]) -> Floats:
        """Probabilities (texts, classes) of prepared texts."""
        if not texts:
            return np.zeros((0, len(self.bias)))
        features = _vectorizer(self.weights.shape[0]).transform(texts)
        return softmax(np.asarray(features @ self.weights, dtype=np.float64) + self.bias)

    def save(self, path: Path) -> None:
        save_file({"weights": np.ascontiguousarray(self.weights), "bias": self.bias}, path)

    @staticmethod
    def load(path: Path) -> NgramView:
        """The weights stay in the file, mapped into memory. Raises BundleError."""
        try:
            return NgramView(_mapped(path, "weights"), np.array(_mapped(path, "bias")))
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise BundleError(f"{path}: not the weights of an n-gram view") from error


def _mapped(path: Path, name: str) -> NDArray[np.float32]:
    """A tensor of a safetensors file, without reading it (the format: huggingface.co/docs/safetensors)."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        found = json.loads(file.read(min(size, MAX_HEADER_BYTES)))[name]
    if found["dtype"] != "F32":
        raise ValueError(f"{name} is not float32")
    start, _ = found["data_offsets"]
    return np.memmap(path, np.float32, "r", 8 + size + start, tuple(found["shape"]))


def features_for(classes: int) -> int:
    """The width of the hashed space of a view that learns from many documents: 2^20 for up to four classes."""
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
    """Fit the view on prepared texts and class indices.

    ``c`` is the inverse regularisation strength; ``weights`` (texts,) say how much each text counts (1 by default). A
    class that no text has is given the smallest probability there is.
    """
    whole = _vectorizer(features).transform(texts).tocsc()
    # A hashed feature that no text has would get the weight 0, after a fit many times as long.
    seen = np.flatnonzero(np.diff(whole.indptr))
    matrix = whole[:, seen].tocsr()
    labels = np.asarray(targets)
    counts = np.ones(len(labels)) if weights is None else weights
    fitted = np.zeros((features, classes), dtype=np.float32)
    bias = np.zeros(classes, dtype=np.float32)
    # One class against the rest, each with its own log-count ratios; two classes need one such fit.
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
    """Of each seen feature (a column of the sparse ``matrix``), by the texts inside a class and those outside it.

    ``counts`` (texts,) weigh the texts; ``alpha`` is added to the count of every one of the ``features``, the unseen
    ones too.
    """
    present = matrix.astype(bool).astype(np.float32)
    positive, negative = (np.asarray(present[rows].T @ counts[rows]).ravel() for rows in (inside, ~inside))
    ratio = np.log((positive + alpha) / (positive.sum() + alpha * features))
    ratio -= np.log((negative + alpha) / (negative.sum() + alpha * features))
    return np.asarray(ratio, dtype=np.float32)
