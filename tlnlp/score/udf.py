"""What a Python worker does: lay the bundle once per host, load it once per process, score batches.

This module is what executors import: no torch, no Ray.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pyspark.accumulators import AccumulatorParam

from tlnlp.errors import BundleError
from tlnlp.model.classifier import Classifier
from tlnlp.runs.memory import peak_bytes

if TYPE_CHECKING:
    from pyspark import Accumulator, Broadcast

_loaded: dict[tuple[str, int], Classifier] = {}

BatchScorer = Callable[[Iterator[tuple[pd.Series, pd.Series]]], Iterator[pd.DataFrame]]


class PeakParam(AccumulatorParam[int]):
    """Keeps the largest value; for a figure of interest, never for a count."""

    def zero(self, value: int) -> int:
        return 0

    def addInPlace(self, value1: int, value2: int) -> int:  # noqa: N802 - the name is Spark's
        return max(value1, value2)


def batch_scorer(
    bundle: Broadcast[dict[str, bytes]],
    digest: str,
    threads: int,
    batch_size: int,
    peak: Accumulator[int],
    rows_done: Accumulator[int],
) -> BatchScorer:
    """An iterator of (texts, their sha256), sorted by sha256, to probabilities: a column ``p0``, ``p1``, ... a class.

    Equal texts lie side by side, so a text is read by the model once, also where it straddles two batches.
    """

    def score(batches: Iterator[tuple[pd.Series, pd.Series]]) -> Iterator[pd.DataFrame]:
        classifier = load_bundle(bundle, digest, threads)
        carried_key, carried = "", np.zeros(len(classifier.classes))
        for texts, keys in batches:
            fresh = keys.ne(keys.shift()).to_numpy()
            if len(keys) and keys.iloc[0] == carried_key:
                fresh[0] = False
            scored = classifier.predict(texts[fresh].tolist(), batch_size)
            rows = np.vstack([carried[None, :], scored])[np.cumsum(fresh)]
            if len(keys):
                carried_key, carried = keys.iloc[-1], rows[-1]
            peak.add(peak_bytes())
            rows_done.add(len(keys))
            yield pd.DataFrame(rows, columns=[f"p{k}" for k in range(rows.shape[1])])

    return score


def load_bundle(bundle: Broadcast[dict[str, bytes]], digest: str, threads: int) -> Classifier:
    """The classifier of this process; laid on this host's disk first, if no other process has done so.

    Raises:
        BundleError: the files that were broadcast are not a sound bundle.
    """
    # The task has its threads; the tokenizer must not take every core beside them.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    key = (digest, threads)
    if key not in _loaded:
        folder = bundle_cache() / digest
        try:
            classifier = Classifier.load(lay(bundle, folder), threads, scoring_only=True)
        except BundleError:  # The copy on this host was damaged since: once more, from the broadcast.
            shutil.rmtree(folder, ignore_errors=True)
            classifier = Classifier.load(lay(bundle, folder), threads, scoring_only=True)
        _loaded.clear()
        _loaded[key] = classifier
    return _loaded[key]


def bundle_cache() -> Path:
    """Where bundles are laid on this host; private to the user, since its files are trusted once verified."""
    folder = Path(tempfile.gettempdir()) / f"tlnlp-bundles-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise BundleError(f"{folder} belongs to another user; set TMPDIR to a folder of your own")
    return folder


def lay(bundle: Broadcast[dict[str, bytes]], folder: Path) -> Path:
    """Write the broadcast files to ``folder`` unless they are there: whole or not at all, by one rename."""
    if folder.exists():
        return folder
    scratch = Path(tempfile.mkdtemp(dir=folder.parent))
    try:
        for name, data in bundle.value.items():
            (scratch / name).write_bytes(data)
        scratch.rename(folder)
    except OSError:
        # Another process of this host may have been first; otherwise the loader says what is wrong.
        if not folder.exists():
            raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return folder


def spark_udf(scorer: BatchScorer, classes: int) -> Any:
    """The scorer as an iterator pandas UDF: a struct of one double a class.

    Marked non-deterministic, so that Spark never evaluates it twice where its output is used twice (SPARK-47672).
    """
    # Imported late: it needs a JVM, and workers import this module without one.
    from pyspark.sql.pandas.functions import pandas_udf

    def score(batches: Iterator[tuple[pd.Series, pd.Series]]) -> Iterator[pd.DataFrame]:
        return scorer(batches)

    returned = ", ".join(f"p{k} double" for k in range(classes))
    return pandas_udf(score, returned).asNondeterministic()  # type: ignore[call-overload]
