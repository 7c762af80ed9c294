"""The result of training: two views, the weights that combine them, and the data of the report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tlnlp.model.ngram import NgramView
from tlnlp.train.cross_validation import CrossValidation
from tlnlp.train.frozen_encoder import PretrainedEmbeddings
from tlnlp.train.pseudo_labels import PseudoLabels


@dataclass(frozen=True)
class LearnedModel:
    """A trained model, before it is written into a bundle.

    Fields:
        weights: tensors of the encoder view.
        ngram: the n-gram view.
        combination: weights (encoder, ngram) of the log-linear pool.
        steps: training steps of all encoders together.
        cross_validation: predictions of held-out labels; None with too few labels for it.
        frozen: embeddings of the labelled texts by the pretrained encoder.
        rounds: summaries of the rounds of co-training, for the report.
        documents: unlabelled texts that training read.
        documents_read: how many documents were read, repetitions included.
        pseudo_labels: what both views together say of the documents; None without documents.
    """

    weights: dict[str, Any]
    ngram: NgramView
    combination: tuple[float, float]
    steps: int
    cross_validation: CrossValidation | None
    frozen: PretrainedEmbeddings
    rounds: tuple[dict[str, Any], ...] = ()
    documents: tuple[str, ...] = ()
    documents_read: int = 0
    pseudo_labels: PseudoLabels | None = None
