"""What a run has learned, whichever way it went: the two views, how they are combined, and what the report tells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tlnlp.model.ngram import NgramView
from tlnlp.train.cross_validation import CrossValidation
from tlnlp.train.frozen_encoder import PretrainedEmbeddings


@dataclass(frozen=True)
class Learned:
    """``weights``: the encoder view's tensors; ``combination``: weights of encoder and n-gram view.

    ``found``: the cross-validation, None where too few labels could be held out; ``frozen``: states of the labels by
    the encoder as pretrained; ``rounds``: what each step of learning came to, for the report; ``documents``: the texts
    read in them; ``documents_read``: how many in all, some again.
    """

    weights: dict[str, Any]
    ngram: NgramView
    combination: tuple[float, float]
    steps: int
    found: CrossValidation | None
    frozen: PretrainedEmbeddings
    rounds: tuple[dict[str, Any], ...] = ()
    documents: tuple[str, ...] = ()
    documents_read: int = 0
