"""Whether unlabelled documents come from where the labelled texts come from; those of another subject teach nothing.

A two-sample test by nearest neighbours (Schilling 1986) in the space of the pretrained encoder, made one-sided:
documents may be of more kinds than the few labelled texts show, but most of them should have a labelled text about as
near as the labelled texts have one another. How well labels are predicted is not asked: a few hundred of them cannot
tell whether documents help, and a test of that refuses good documents by chance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tlnlp.model.combine import Floats
from tlnlp.train.fit.linear_head import unit_length

# Documents that are looked at; of documents from the same source, a share between 0.4 and 0.65 is further away than
# labelled texts are (IMDb, AG News, TREC, 16 to 200 labels), of those from another 0.96 and more.
LOOKED_AT = 256
FOREIGN = 0.9


@dataclass(frozen=True)
class Relevance:
    """``further``: how often a document is further from its nearest labelled text than a labelled text is from its
    own, over all such pairs (0.5: alike; 1: every document is an outsider)."""

    further: float

    @property
    def same_source(self) -> bool:
        return self.further < FOREIGN


def relevance(labelled: Floats, documents: Floats) -> Relevance:
    """Compare pooled states of labelled texts (labels, hidden) and of documents (documents, hidden).

    The figure is the area under the ROC curve that tells the two by the cosine to the nearest labelled text
    (Mann and Whitney 1947), which neither the number of texts nor the width of the space shifts.

    Raises:
        ValueError: fewer than two labelled texts, or no document.
    """
    if len(labelled) < 2 or not len(documents):
        raise ValueError(f"{len(labelled)} labelled texts and {len(documents)} documents cannot be compared")
    ours, theirs = unit_length(labelled), unit_length(documents)
    among = ours @ ours.T
    np.fill_diagonal(among, -np.inf)
    nearest, of_documents = np.sort(among.max(axis=1)), (theirs @ ours.T).max(axis=1)
    below = np.searchsorted(nearest, of_documents, side="left")
    ties = np.searchsorted(nearest, of_documents, side="right") - below
    return Relevance(float(1.0 - (below + ties / 2).mean() / len(nearest)))
