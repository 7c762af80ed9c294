"""The loss of pairs in a batch, on one worker or on several."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributed.nn.functional import all_gather
from torch.nn import functional


def contrast(states: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """How far the cosines of all pairs in a batch are from 1 (of one class) and 0 (of two), squared.

    The loss of sentence pairs in SetFit (Tunstall et al. 2022), over every pair that a batch holds, and with the
    probability of being of one class where targets are guesses. ``states`` (batch, hidden), ``targets`` (batch,
    classes), ``weights`` (batch,).
    """
    directions = functional.normalize(states, dim=1)
    cosines, like = directions @ directions.T, targets @ targets.T
    counts = (weights[:, None] * weights[None, :]).fill_diagonal_(0.0)
    near, far = counts * like, counts * (1 - like)
    together = ((cosines - 1) ** 2 * near).sum() / near.sum().clamp(min=1e-6)
    apart = (cosines**2 * far).sum() / far.sum().clamp(min=1e-6)
    return together + apart


def gathered(states: Tensor, rank: int, world: int) -> Tensor:
    """The states of the whole batch, those of the other workers among them, in its order; gradients flow to all."""
    if world == 1:
        return states
    parts = all_gather(states)  # type: ignore[no-untyped-call]
    whole: Tensor = torch.stack(parts, dim=1).flatten(0, 1)
    return whole
