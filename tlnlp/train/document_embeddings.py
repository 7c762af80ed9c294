"""Embed documents for co-training, with int8 weights where that is faster: more documents are read in the same time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tlnlp.model.combine import Floats
from tlnlp.model.tokenize import TokenIds
from tlnlp.model.torch_encoder import encoder_network
from tlnlp.runs.progress import say
from tlnlp.train.context import Run
from tlnlp.train.fit.run_fit import INT8
from tlnlp.train.pseudo_labels import tokenize_documents

# Documents that both precisions read for the comparison.
COMPARED = 64
# Least gain in throughput that is worth a loss of precision.
LEAST_GAIN = 1.2
# Largest error of the states (see ``relative_error``).
MOST_ERROR = 0.25


def with_reading_precision(run: Run, texts: Sequence[str]) -> Run:
    """Return the run with the precision in which its documents are embedded, and record its throughput.

    ``auto`` is measured: both precisions embed a few documents with the pretrained encoder.

    Raises:
        EngineError: a piece of work failed.
    """
    wanted = run.settings.teaching.read_precision
    if wanted == INT8:
        return replace(run, reading_precision=INT8)
    if wanted == "training" or run.executor.has_gpus or len(texts) < COMPARED:
        return run
    if encoder_network(run.examples.reader.encoder.name) is None:
        return run
    note = run.resume_cache.note("reading", lambda: _compare(run, texts[:COMPARED]))
    run.ledger.results["reading"] = note
    run.time_budget.record_reading_throughput(note["tokens_per_s"])
    return replace(run, reading_precision=note["precision"])


def embed_once(run: Run, key: str, weights: dict[str, Any] | None, tokens: TokenIds, what: str) -> Floats:
    """Return embeddings (texts, hidden), computed once under a key and then read from the resume cache.

    Args:
        weights: tensors of the encoder; None: the pretrained encoder.

    Raises:
        EngineError: a piece of work failed.
    """

    def read() -> Floats:
        states, rate = _embed(run, weights, tokens, run.reading_precision, what)
        run.time_budget.record_reading_throughput(rate)
        return states

    return run.resume_cache.array(key, read)


def _embed(
    run: Run, weights: dict[str, Any] | None, tokens: TokenIds, precision: str | None, what: str
) -> tuple[Floats, float]:
    spec = run.examples.embedding(run.settings)
    return run.executor.embed(tokens, weights, replace(spec, precision=precision or spec.precision), what)


def _compare(run: Run, texts: Sequence[str]) -> dict[str, Any]:
    """Return the precision to read documents in, its throughput, and what was measured of both."""
    tokens, what = tokenize_documents(texts, run.examples, run.settings).cut, "comparing precisions"
    reference, rate = _embed(run, None, tokens, None, what)
    states, int8_rate = _embed(run, None, tokens, INT8, what)
    error = relative_error(states, reference)
    chosen = INT8 if int8_rate > LEAST_GAIN * rate and error <= MOST_ERROR else None
    say(
        f"documents are read {'with int8 weights' if chosen else 'in the precision of the training'}: int8 reads "
        f"{int8_rate / rate:.1f} times as many tokens a second, and moves a state by {error:.0%} of its distance from "
        "the mean"
    )
    figures = {"gain": round(int8_rate / rate, 2), "error": round(error, 4)}
    return figures | {"precision": chosen, "tokens_per_s": round(int8_rate if chosen else rate, 1)}


def relative_error(states: Floats, reference: Floats) -> float:
    """Return the mean distance of states (texts, hidden) from reference states, relative to the spread of these.

    Both are centred first: what all states share tells no text from another.
    """
    own, wanted = states - states.mean(axis=0), reference - reference.mean(axis=0)
    spread = np.linalg.norm(wanted, axis=1).mean()
    return float(np.linalg.norm(own - wanted, axis=1).mean() / max(spread, 1e-12))
