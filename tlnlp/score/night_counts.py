"""Count some of the texts of a night for its drift profile, in the workers that read them.

Some thousands are counted, chosen by their digests. Rows are counted by ``tlnlp.warehouse.row_counts``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pyspark.accumulators import AccumulatorParam

from tlnlp.data.text import prepare, sha256_below

if TYPE_CHECKING:
    from pyspark import Accumulator, SparkContext

    from tlnlp.model.classifier import Classifier

# Texts of a night that are counted, about.
TEXTS = 4_000
SHARE_BINS, LENGTH_BINS = 10, 20
# Letters of Latin script, with those of its extensions.
_LATIN = re.compile("[A-Za-z\u00aa\u00ba\u00c0-\u024f\u1e00-\u1eff]")

Row = NDArray[np.int64]


class CountsParam(AccumulatorParam[Row]):
    """Add up rows of counts in a Spark accumulator."""

    def zero(self, value: Row) -> Row:
        """Return the row to start with."""
        return np.zeros_like(value)

    def addInPlace(self, value1: Row, value2: Row) -> Row:  # noqa: N802 - the name is Spark's
        """Return the sum of both rows."""
        return value1 + value2


@dataclass(frozen=True)
class TextCounts:
    """Count texts in the workers: by length, by script, and by the share of words that the model has never seen.

    Fields:
        before: texts whose digest is below this text are counted.
        counts: one row for all bins: lengths, shares of letters that are not Latin, shares of unknown words.
    """

    before: str
    counts: Accumulator[Row]

    @staticmethod
    def of(context: SparkContext, rows: int) -> TextCounts:
        """Return counts of zero for a night that reads so many rows; with 0 rows, no text is counted."""
        before = sha256_below(TEXTS / rows if rows else 0)
        return TextCounts(before, context.accumulator(np.zeros(LENGTH_BINS + 2 * SHARE_BINS, np.int64), CountsParam()))

    def look(self, classifier: Classifier, texts: Sequence[str], digests: NDArray[np.object_]) -> None:
        """Count those of the texts that are chosen; ``digests`` are their sha256, in hex."""
        chosen = [texts[place] for place in np.flatnonzero(digests < self.before).tolist()]
        if not chosen:
            return
        prepared = [prepare(text, classifier.spec.max_chars) for text in chosen]
        lengths = [min(LENGTH_BINS - 1, len(text).bit_length()) for text in chosen]
        scripts = [_bin(_other_script(text)) for text in prepared]
        unknown = [_bin(share) for share in classifier.ngram.unknown_shares(prepared)]
        rows = (
            np.bincount(lengths, minlength=LENGTH_BINS),
            *(np.bincount(of, minlength=SHARE_BINS) for of in (scripts, unknown)),
        )
        self.counts.add(np.concatenate(rows).astype(np.int64))

    def by_statistic(self) -> dict[str, tuple[int, ...]]:
        """Return the counts by the name of their statistic."""
        lengths, scripts, unknown = np.split(self.counts.value, [LENGTH_BINS, LENGTH_BINS + SHARE_BINS])
        named = {"length": lengths, "script": scripts, "unknown_words": unknown}
        return {name: tuple(map(int, row)) for name, row in named.items()}


def _bin(share: float) -> int:
    return min(SHARE_BINS - 1, int(share * SHARE_BINS))


def _other_script(text: str) -> float:
    """Return the share of a text's letters that are not Latin; 0 without letters."""
    if text.isascii():
        return 0.0
    letters = sum(map(str.isalpha, text))
    return max(0.0, 1.0 - len(_LATIN.findall(text)) / letters) if letters else 0.0
