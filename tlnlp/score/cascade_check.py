"""Check each night whether a cascade still keeps its promise: some settled texts are read by both views, too.

Which texts these are depends on their digest, so they are a random sample of the texts of a night. Their scores stay
those of the cascade.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tlnlp.data.text import sha256_below
from tlnlp.model.cascade import NGRAM, STAGES, STUDENT, Stages
from tlnlp.model.combine import Floats

if TYPE_CHECKING:
    from pyspark import Accumulator

    from tlnlp.model.classifier import Classifier

# Settled texts that a night reads again, about, and the largest share of them. Where the encoder reads a fifth of the
# texts, a share of 2 % adds 8 % to its time, and 5 % would add 20 %.
TEXTS = 500
MOST_SHARE = 0.02
# A night warns if the share of changed labels is over the limit with this confidence: one false alarm in 1,000 nights.
CONFIDENCE = 0.999


@dataclass(frozen=True)
class CascadeCheck:
    """Count, over all workers of a night, what the cascade settles and what both views say of a sample of it.

    Fields:
        before: texts whose digest is below this text are in the sample.
        read, settled, by_student: numbers of texts, of those that were settled, and of these by the student.
        sampled, changed: numbers of settled texts in the sample, and of these with another label.
    """

    before: str
    read: Accumulator[int]
    settled: Accumulator[int]
    by_student: Accumulator[int]
    sampled: Accumulator[int]
    changed: Accumulator[int]

    def look(
        self,
        classifier: Classifier,
        texts: list[str],
        digests: NDArray[np.object_],
        probabilities: Floats,
        stages: Stages,
    ) -> None:
        """Count the settled texts, and read those of the sample with both views.

        Args:
            digests: sha256 of each text, in hex.
            probabilities: what the cascade gives the texts, (texts, classes).
            stages: what has decided each text, (texts,).
        """
        by_student = stages == STAGES.index(STUDENT)
        settled = by_student | (stages == STAGES.index(NGRAM))
        self.read.add(len(texts))
        self.settled.add(int(settled.sum()))
        self.by_student.add(int(by_student.sum()))
        sample = np.flatnonzero(settled & (digests < self.before))
        if sample.size:
            both = classifier.predict_without_cascade([texts[position] for position in sample])
            self.sampled.add(len(sample))
            self.changed.add(int((both.argmax(axis=1) != probabilities[sample].argmax(axis=1)).sum()))


def sample_border(rows: int) -> str:
    """Return the digest below which a text is in the sample of a night of so many rows."""
    return sha256_below(min(MOST_SHARE, TEXTS / max(1, rows)))


def summary(check: CascadeCheck, limit: float) -> dict[str, Any]:
    """Return what a night has seen of its cascade, for the ledger.

    Args:
        limit: largest allowed share of texts whose label changes, as the version's test promises.

    Returns:
        ``settled_share``, ``student_share`` (of all texts; part of the former), ``sampled``, ``changed``;
        ``changed_share``, of all texts, estimated; and ``holds``: False if that share is over the limit with a
        confidence of 99.9%.
    """
    from scipy.stats import binom  # Of the driver alone; workers import this module, too.

    read, settled, sampled, changed = (
        int(check.read.value),
        int(check.settled.value),
        int(check.sampled.value),
        int(check.changed.value),
    )
    share = settled / read if read else 0.0
    # Of the settled texts, so many may change while all texts keep the limit.
    allowed = min(1.0, limit / share) if share else 1.0
    return {
        "settled_share": round(share, 4),
        "student_share": round(int(check.by_student.value) / read, 4) if read else 0.0,
        "sampled": sampled,
        "changed": changed,
        "changed_share": round(share * changed / sampled, 5) if sampled else None,
        "limit": limit,
        "holds": float(binom.sf(changed - 1, sampled, allowed)) >= 1 - CONFIDENCE,
    }
