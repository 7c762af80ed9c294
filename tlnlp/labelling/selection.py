"""Choose which documents are worth a person's time: the doubtful, the disputed, the novel, each kind only once.

Documents are ranked by signals that are brought to one scale, as ranks. Of near-duplicates, one is asked. Classes with
few labels get places of their own. A random share is drawn first: it says how often the whole night is right, which no
choice by doubt could say.

Source: least margin (Scheffer et al. 2001) and query by committee (Seung et al. 1992); the parts are joined by rank.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.stats import rankdata

RANDOM, RARE_CLASS, DOUBT, VIEWS_DISAGREE, NOVEL = "random", "rare_class", "doubt", "views_disagree", "novel"
NEAR_DUPLICATE = "near_duplicate"
REASONS = {
    RANDOM: "drawn at random, to estimate how often the night is right",
    RARE_CLASS: "it may be of a class that has few labels",
    DOUBT: "the model is in doubt",
    VIEWS_DISAGREE: "the n-grams and the encoder disagree",
    NOVEL: "it is unlike every labelled text",
    NEAR_DUPLICATE: "it is nearly the same as a document that was asked",
}
# Weight of each signal in the order of the documents.
WEIGHTS = {DOUBT: 0.5, VIEWS_DISAGREE: 0.25, NOVEL: 0.25}
# Texts with so much in common by their n-grams (cosine) are near-duplicates.
ALIKE = 0.8
# A class lacks labels if it has fewer than this share of the mean over the classes. All such classes together get a
# share of the places.
FEW_LABELS = 0.5
RARE_SHARE = 0.2

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Candidates:
    """Documents that may be asked, as the model reads them.

    Fields:
        drawn: the positions of those that were drawn at random, in the order of the draw.
        probabilities: (documents, classes), of both views together.
        signals: by name, one value for each document; larger is more worth asking. The names are those of ``WEIGHTS``.
        ngrams: features (documents, n-grams), each row of length 1.
    """

    drawn: Sequence[int]
    probabilities: Floats
    signals: Mapping[str, Floats]
    ngrams: csr_matrix


@dataclass(frozen=True)
class Choice:
    """A document to ask: its position, why, and the positions of its near-duplicates among the candidates."""

    position: int
    why: str
    duplicates: tuple[int, ...]


def margin_doubt(probabilities: Floats) -> Floats:
    """Return 1 minus the difference of the two largest probabilities of each document, (documents,)."""
    top = np.sort(probabilities, axis=1)[:, -2:]
    return np.asarray(1.0 - (top[:, -1] - top[:, 0]))


def disagreement(one: Floats, other: Floats) -> Floats:
    """Return the total variation distance of two views' probabilities (documents, classes), (documents,)."""
    return np.asarray(np.abs(one - other).sum(axis=1) / 2)


def few_labels(counts: Mapping[str, int], classes: Sequence[str]) -> list[int]:
    """Return the positions of the classes that lack labels."""
    mean = sum(counts.get(name, 0) for name in classes) / max(1, len(classes))
    return [place for place, name in enumerate(classes) if counts.get(name, 0) < FEW_LABELS * mean]


def choose(candidates: Candidates, size: int, random_share: float, lacking: Sequence[int] = ()) -> list[Choice]:
    """Return the documents to ask, in an order that mixes the reasons.

    Args:
        size: documents at most; fewer where the candidates have too many near-duplicates.
        random_share: share of them that is drawn at random.
        lacking: positions of the classes that lack labels.
    """
    picker = _Picker(candidates.ngrams)
    drawn = picker.sample(candidates.drawn[: round(size * random_share)])
    rest = size - len(drawn)
    rare = list(_rare(candidates, picker, min(rest, round(size * RARE_SHARE)) if lacking else 0, lacking))
    ranked = list(_ranked(candidates, picker, rest - len(rare)))
    return _mixed(drawn, [*rare, *ranked], size)


class _Picker:
    """Take documents one by one, with their near-duplicates, each only once."""

    def __init__(self, ngrams: csr_matrix) -> None:
        self._ngrams, self._gone = ngrams, np.zeros(ngrams.shape[0], dtype=bool)

    def sample(self, places: Sequence[int]) -> list[Choice]:
        """Return the choices of all these documents, also of those that are alike: a random sample has them all."""
        self._gone[list(places)] = True
        return [self._choice(place, RANDOM) for place in places]

    def taken(self, place: int, why: str) -> Choice | None:
        """Return the choice of a document; None if it, or one like it, was taken before."""
        return None if self._gone[place] else self._choice(place, why)

    def _choice(self, place: int, why: str) -> Choice:
        alike = np.asarray((self._ngrams @ self._ngrams[place].T).todense()).ravel() >= ALIKE
        alike[place] = False
        duplicates = np.flatnonzero(alike & ~self._gone)
        self._gone[place] = True
        self._gone[duplicates] = True
        return Choice(place, why, tuple(duplicates.tolist()))


def _rare(candidates: Candidates, picker: _Picker, most: int, lacking: Sequence[int]) -> Iterator[Choice]:
    """Yield documents that are probably of the classes that lack labels, in turns."""
    orders = [iter(np.argsort(-candidates.probabilities[:, place], kind="stable").tolist()) for place in lacking]
    left = most
    while orders and left:
        order = orders.pop(0)
        found = next((one for place in order if (one := picker.taken(place, RARE_CLASS))), None)
        if found is not None:
            orders.append(order)
            left -= 1
            yield found


def _ranked(candidates: Candidates, picker: _Picker, most: int) -> Iterator[Choice]:
    """Yield documents by their signals; the reason is the signal that speaks most for a document."""
    names = list(candidates.signals)
    ranks = np.array([WEIGHTS[name] * _scaled(candidates.signals[name]) for name in names])
    taken = 0
    for place in np.argsort(-ranks.sum(axis=0), kind="stable").tolist():
        if taken == most:
            return
        strongest = max(range(len(names)), key=lambda one: ranks[one][place] / WEIGHTS[names[one]])
        found = picker.taken(place, names[strongest])
        if found is not None:
            taken += 1
            yield found


def _scaled(values: Floats) -> Floats:
    """Return the ranks of values, from 0 to 1; equal values have equal ranks."""
    return np.asarray((rankdata(values) - 0.5) / len(values))


def _mixed(drawn: Sequence[Choice], others: Sequence[Choice], size: int) -> list[Choice]:
    """Return both kinds in turns: who labels only the first of a queue has labelled of both."""
    places = [(number / max(1, len(found)), kind, number) for kind, found in ((0, drawn), (1, others))
              for number in range(len(found))]  # fmt: skip
    return [(drawn, others)[kind][number] for _, kind, number in sorted(places)][:size]
