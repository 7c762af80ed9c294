"""Domain shift: a test of whether unlabelled documents come from the same source as the labelled texts.

A two-sample test by nearest neighbours (Schilling 1986) in the space of the pretrained encoder, made one-sided:
documents may be more varied than the few labelled texts, but most documents should have a labelled text about as close
as labelled texts have one another. The test does not use accuracy: a few hundred labels cannot show whether documents
help, and a test of accuracy would refuse good documents by chance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tlnlp.model.combine import Floats
from tlnlp.train.fit.linear_head import unit_length
from tlnlp.train.tuned_constants import TUNED

# Documents that the test uses.
SAMPLED_DOCUMENTS = 256


@dataclass(frozen=True)
class Relevance:
    """The result of the test.

    Fields:
        further: the share of pairs (document, labelled text) in which the document is further from its nearest labelled
            text than the labelled text is from its own; 0.5: same distribution, 1: every document is an outlier.
    """

    further: float

    @property
    def same_source(self) -> bool:
        """Return whether the documents count as being of the same source."""
        return self.further < TUNED.foreign


def relevance(labelled: Floats, documents: Floats) -> Relevance:
    """Compare embeddings of labelled texts (labels, hidden) with those of documents (documents, hidden).

    The figure is the area under the ROC curve of the cosine to the nearest labelled text (Mann and Whitney 1947). It
    depends neither on the number of texts nor on the width of the space.

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
