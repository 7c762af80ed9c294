"""The contrastive loss of a batch, on one worker or on several."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributed.nn.functional import all_gather
from torch.nn import functional


def contrast(states: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Return the squared error of the cosines of all pairs in a batch; the target is 1 in a class, 0 between classes.

    A pair counts as one class with the probability that its two targets give to one class, and as two classes with the
    rest. The means over the two kinds of pairs are added.

    Args:
        states: pooled states (batch, hidden).
        targets: class probabilities (batch, classes).
        weights: the weight of each text (batch,).

    Source: the loss of sentence pairs in SetFit (Tunstall et al. 2022), here over every pair of a batch.
    """
    directions = functional.normalize(states, dim=1)
    cosines, same_class = directions @ directions.T, targets @ targets.T
    counts = (weights[:, None] * weights[None, :]).fill_diagonal_(0.0)
    same, different = counts * same_class, counts * (1 - same_class)
    pull = ((cosines - 1) ** 2 * same).sum() / same.sum().clamp(min=1e-6)
    push = (cosines**2 * different).sum() / different.sum().clamp(min=1e-6)
    return pull + push


def gather_states(states: Tensor, rank: int, world: int) -> Tensor:
    """Return the states of the whole batch, in its order, from the states of each worker.

    Gradients flow back to every worker. Worker ``rank`` holds the texts rank, rank + world, ... of the batch.
    """
    if world == 1:
        return states
    parts = all_gather(states)  # type: ignore[no-untyped-call]
    whole: Tensor = torch.stack(parts, dim=1).flatten(0, 1)
    return whole
