"""Score batches of texts in Spark's Python workers.

Each host unpacks the bundle once, and each worker process loads it once. Executors import this module, so it imports
neither torch nor Ray.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pyspark.accumulators import AccumulatorParam

from tlnlp.errors import BundleError
from tlnlp.model.cascade import STAGES, Stages
from tlnlp.model.combine import Floats
from tlnlp.model.profile import CTRANSLATE2_CUDA_INT8, Profile
from tlnlp.runs.memory import peak_bytes
from tlnlp.score.bundle_cache import cached_bundle, release_all_but
from tlnlp.score.cascade_check import CascadeCheck
from tlnlp.score.evidence_column import EvidenceFinder
from tlnlp.score.gpu_lease import leased_gpu
from tlnlp.score.night_counts import TextCounts

if TYPE_CHECKING:
    from pyspark import Accumulator, Broadcast, SparkContext

    from tlnlp.model.classifier import Classifier

_loaded: dict[tuple[str, Profile, int, int], Classifier] = {}

# The stage of a text that memory was too little for; the others are positions in ``STAGES``.
UNREAD = len(STAGES)

BatchScorer = Callable[[Iterator[tuple[pd.Series, pd.Series]]], Iterator[pd.DataFrame]]


class PeakParam(AccumulatorParam[int]):
    """Keep the largest value that the tasks have added to a Spark accumulator."""

    def zero(self, value: int) -> int:
        """Return the value to start with."""
        return 0

    def addInPlace(self, value1: int, value2: int) -> int:  # noqa: N802 - the name is Spark's
        """Return the larger value."""
        return max(value1, value2)


@dataclass(frozen=True)
class Meters:
    """Spark accumulators that the workers add to. A task that is repeated adds again.

    Fields:
        peak: the largest resident set of a worker, in bytes (see ``PeakParam``).
        rows: number of rows of finished batches.
        unread: number of these whose text memory was too little for.
    """

    peak: Accumulator[int]
    rows: Accumulator[int]
    unread: Accumulator[int]

    @staticmethod
    def of(context: SparkContext) -> Meters:
        """Return new accumulators."""
        return Meters(context.accumulator(0, PeakParam()), context.accumulator(0), context.accumulator(0))


@dataclass(frozen=True)
class TextReader:
    """Read texts with the model, and let the night count what it wants to know of them.

    Fields:
        check: receives what the cascade settles.
        counts: counts some of the texts.
        evidence: finds the evidence of texts; None if none is asked for.
    """

    check: CascadeCheck
    counts: TextCounts
    evidence: EvidenceFinder | None = None

    def read(self, classifier: Classifier, texts: list[str], digests: NDArray[np.object_]) -> pd.DataFrame:
        """Return the rows of texts that differ from each other (see ``batch_scorer``); ``digests`` are their sha256."""
        scored, stage = _predict(classifier, texts)
        self.check.look(classifier, texts, digests, scored, stage)
        self.counts.look(classifier, texts, digests)
        rows = pd.DataFrame({f"p{k}": scored[:, k] for k in range(scored.shape[1])} | {"stage": stage})
        if self.evidence is not None:
            rows["evidence"] = self.evidence.sentences(classifier, texts, scored, stage != UNREAD)
        return rows


def batch_scorer(
    bundle: Broadcast[dict[str, bytes]],
    digest: str,
    profile: Profile,
    threads: int,
    meters: Meters,
    reader: TextReader,
) -> BatchScorer:
    """Return a function that scores an iterator of batches.

    A batch is a pair of series: texts and their sha256. All rows of the iterator must be sorted by sha256. Then equal
    texts are neighbours, and the model reads each text once, even if its rows lie in two batches.

    Args:
        bundle: the bundle's files by name.
        digest: the bundle's digest, which names its folder on the host.
        profile: engine and cascade.
        threads: threads of the model in each task.
        meters: receives what the workers do.
        reader: reads the texts.

    Returns:
        For each batch, a frame of probabilities ``(rows, classes)`` with the columns ``p0``, ``p1``, ..., and
        ``stage``: what has decided the text, a position in ``STAGES``; ``UNREAD`` if memory was too little. If
        evidence is asked for, also ``evidence``: a sentence of the text, or None.
    """

    def score(batches: Iterator[tuple[pd.Series, pd.Series]]) -> Iterator[pd.DataFrame]:
        """Yield the rows of each batch; the model reads its new texts alone."""
        classifier, last_key, last = load_bundle(bundle, digest, profile, threads), "", pd.DataFrame()
        for texts, keys in batches:
            is_new = keys.ne(keys.shift()).to_numpy()
            if len(keys) and keys.iloc[0] == last_key:
                is_new[0] = False
            rows = pd.concat([last, reader.read(classifier, texts[is_new].tolist(), keys[is_new].to_numpy())])
            rows = rows.iloc[np.cumsum(is_new) + len(last) - 1].reset_index(drop=True)
            if len(keys):
                last_key, last = keys.iloc[-1], rows.tail(1)
            meters.peak.add(peak_bytes())
            meters.rows.add(len(keys))
            meters.unread.add(int((rows["stage"] == UNREAD).sum()))
            yield rows

    return score


def _predict(classifier: Classifier, texts: list[str]) -> tuple[Floats, Stages]:
    """Return the probabilities of texts, and what has decided each of them.

    A batch that memory is too little for is read text by text.
    """
    try:
        return classifier.predict_staged(texts)
    except MemoryError:
        if len(texts) == 1:
            return np.zeros((1, len(classifier.classes))), np.array([UNREAD], dtype=np.int8)
    parts = [_predict(classifier, [text]) for text in texts]
    return np.vstack([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def load_bundle(bundle: Broadcast[dict[str, bytes]], digest: str, profile: Profile, threads: int) -> Classifier:
    """Return the classifier of this process. Unpack its bundle on this host if no process has done so before.

    Raises:
        BundleError: the broadcast files are incomplete or altered.
        EngineError: the engine needs a GPU, and this task has none that it can use.
    """
    # The task has a limited number of threads. The tokenizer would start one per core in addition.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # Spark reuses a process for other tasks, which may have another GPU.
    gpu = leased_gpu() if profile.engine == CTRANSLATE2_CUDA_INT8 else 0
    key = (digest, profile, threads, gpu)
    if key not in _loaded:
        folder = cached_bundle(bundle, digest, profile.engine)
        try:
            classifier = _load(folder, digest, profile, threads, gpu)
        except BundleError:  # The copy on this host may be damaged, so it is unpacked from the broadcast again.
            shutil.rmtree(folder, ignore_errors=True)
            classifier = _load(cached_bundle(bundle, digest, profile.engine), digest, profile, threads, gpu)
        _loaded.clear()
        release_all_but(folder)
        _loaded[key] = classifier
    return _loaded[key]


def _load(folder: Path, digest: str, profile: Profile, threads: int, gpu: int) -> Classifier:
    # The driver imports this module, too, and needs none of the libraries that run a model.
    from tlnlp.model.classifier import Classifier

    classifier = Classifier.load(folder, threads, profile, scoring_only=True, gpu=gpu)
    if classifier.digest != digest:
        raise BundleError(f"{folder} holds another bundle than the one of this night: run the night again")
    return classifier


def spark_udf(scorer: BatchScorer, classes: int, has_evidence: bool = False) -> Any:
    """Return the scorer as an iterator pandas UDF: a struct with a double per class, what decided, and the evidence.

    The UDF is marked non-deterministic. Otherwise Spark may evaluate it twice where its output is used twice
    (SPARK-47672).
    """
    # This import needs a JVM. Workers import the module and have none.
    from pyspark.sql.pandas.functions import pandas_udf

    def score(batches: Iterator[tuple[pd.Series, pd.Series]]) -> Iterator[pd.DataFrame]:
        """Score with the type hints by which Spark knows the kind of UDF."""
        return scorer(batches)

    names = [*(f"p{k} double" for k in range(classes)), "stage tinyint", *["evidence string"] * has_evidence]
    returned = ", ".join(names)
    return pandas_udf(score, returned).asNondeterministic()  # type: ignore[call-overload]
