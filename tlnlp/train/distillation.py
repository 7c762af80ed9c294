"""Distil a student: an encoder of few layers that learns what both views together say of documents.

When a night scores, the student reads what the n-gram view is not sure of, and the encoder reads what the student is
not sure of either (see ``tlnlp.model.cascade``). The student starts from layers of the encoder, its teacher.

Source: DistilBERT (Sanh et al. 2019), with the labels of the task alone as targets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tlnlp.config import FinetuneSettings
from tlnlp.model.bundle_spec import StudentSpec
from tlnlp.model.tokenize import TokenIds
from tlnlp.model.torch_encoder import encoder_network
from tlnlp.runs.progress import say
from tlnlp.train.context import DISTILLED, Run
from tlnlp.train.fit.encoder_fit import EncoderFit
from tlnlp.train.learned_model import LearnedModel
from tlnlp.train.tuned_constants import TUNED

# Fewest layers that the teacher must have for each layer of the student.
LEAST_RATIO = 2
# Fewest seconds that make a student which saves time: one of 3 layers that had learned from 1,500 IMDb reviews agreed
# with both views on 87 % of 2,000 others, and saved nothing (tests/bench/RESULTS.md).
LEAST_S = 600.0
# A student's steps are a little slower than its share of the layers: embeddings and head cost what the teacher's cost.
LAYERS_SHARE = 0.8


@dataclass(frozen=True)
class Distilled:
    """A distilled student: the tensors of its network and of its head, by name, and its description."""

    weights: dict[str, Any]
    spec: StudentSpec


def distilling_s(settings: FinetuneSettings, aside: Sequence[str]) -> float:
    """Return the seconds of the time budget that are set aside for a student; 0 if there is to be none.

    Args:
        aside: documents that nothing learns from; without any, no cascade can be tested, and nothing needs a student.
    """
    seconds = TUNED.distilling_share * settings.time_budget_s
    return seconds if settings.student == "auto" and aside and seconds >= LEAST_S else 0.0


def distil(run: Run, learned: LearnedModel, seconds: float) -> Distilled | None:
    """Return a student that has learned from the documents of co-training, and from the labels.

    Args:
        seconds: how long this may take, about.

    Returns:
        None without time or documents, or if the encoder is of another kind than the student's engine can run.

    Raises:
        EngineError: the fit failed.
        BudgetError: the fit would cost more than the budget has left.
    """
    if not seconds or learned.pseudo_labels is None:
        return None
    network = encoder_network(run.settings.encoder)
    if network is None:
        return None
    if network.layers < LEAST_RATIO * TUNED.student_layers:
        say(f"student: none, since {run.settings.encoder} has only {network.layers} layers")
        return None
    fit = _fit(run, learned, network.layers, seconds)
    run.budget.check(seconds, "before the student")
    with run.ledger.stage("student"):
        result = run.fit(DISTILLED, fit, "student")
    run.ledger.results["distillation"] = result.to_json() | {"documents": len(learned.pseudo_labels.texts)}
    max_length = min(TUNED.student_tokens, run.examples.reader.max_length)
    return Distilled(result.weights, StudentSpec(TUNED.student_layers, max_length))


def _fit(run: Run, learned: LearnedModel, layers: int, seconds: float) -> EncoderFit:
    """Return the fit of a student to the pseudo-labels of documents and to the labels."""
    settings, examples, own = run.settings, run.examples, run.settings.teaching
    assert learned.pseudo_labels is not None
    tokens = TokenIds.of(examples.reader.whole.encode(learned.pseudo_labels.texts)) + examples.whole
    targets = np.vstack([learned.pseudo_labels.probabilities, examples.one_hot]).astype(np.float32)
    changes = {"batch_size": own.batch_size, "learning_rate": TUNED.student_learning_rate, "frozen_layers": 0.0}
    crop_tokens = min(own.crop_tokens, examples.reader.max_length)
    mean_tokens = float(np.minimum(tokens.lengths, crop_tokens).mean())
    crops = run.time_budget.student_crops(seconds, mean_tokens, LAYERS_SHARE * layers / TUNED.student_layers)
    most = TUNED.most_student_passes * len(tokens)
    steps = run.resume_cache.note(f"{DISTILLED}-steps", lambda: {"steps": max(1, min(crops, most) // own.batch_size)})[
        "steps"
    ]
    return EncoderFit(
        encoder=examples.reader.encoder,
        edges=examples.reader.cut.edges,
        tokens=tokens,
        targets=targets,
        weights=np.ones(len(tokens), dtype=np.float32),
        held_out=examples.cut.take(np.zeros(0, dtype=np.int64)),
        steps=int(steps),
        crop_tokens=crop_tokens,
        read_tokens=min(TUNED.student_tokens, examples.reader.max_length),
        objective="classify",
        seed=settings.seed * 1000 + 200,
        recipe=settings.training.model_copy(update=changes | {"dropout": 0.0}),
        initial=learned.weights,
        layers=chosen_layers(layers, TUNED.student_layers),
    )


def chosen_layers(layers: int, count: int) -> tuple[int, ...]:
    """Return the positions of the teacher's layers that a student of ``count`` layers starts from, evenly spread."""
    return tuple(number * layers // count for number in range(count))
