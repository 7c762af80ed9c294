"""One fit of the encoder view: what it learns from, and the steps of learning it. No Ray here.

A fit learns from soft targets with weights, so labels and the guesses of other views are learned from alike. Of a long
text each step reads a window at a random place: many short windows teach more a second than few whole texts.

The order of the examples and the randomness of each step are functions of (seed, step) alone, so a run that resumes
from a checkpoint, or runs on another number of workers, goes on with the same batches.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.nn import functional

from tlnlp.config import TrainingSettings
from tlnlp.model.combine import Floats, softmax
from tlnlp.model.encode import TokenIds, by_length, crop, pad
from tlnlp.model.reference import TextClassifier, load_encoder

# Texts at once where nothing is learned from them.
READ_BATCH = 32
# Examples that the first weights of the head are fitted on, at most.
PROBED = 512


@dataclass(frozen=True)
class Fit:
    """One fit, as a worker gets it.

    ``tokens``: of whole texts, special tokens at their ``edges``; ``targets`` (texts, classes): probabilities;
    ``weights`` (texts,): how much each counts; ``held_out``: texts to predict at the end, cut as scoring cuts them.
    """

    encoder: str
    pooling: str
    pad_token_id: int
    edges: tuple[int, int]
    tokens: TokenIds
    targets: NDArray[np.float32]
    weights: NDArray[np.float32]
    held_out: TokenIds
    steps: int
    crop_tokens: int
    seed: int
    recipe: TrainingSettings

    @property
    def classes(self) -> int:
        return int(self.targets.shape[1])


def steps_of(examples: int, recipe: TrainingSettings) -> int:
    """Steps of a fit on labels: so many passes over them, within the limits of the recipe."""
    wanted = math.ceil(examples * recipe.epochs / recipe.batch_size)
    return min(max(wanted, recipe.min_steps), recipe.max_steps)


def batches(examples: int, batch_size: int, seed: int, start: int, stop: int) -> Iterator[NDArray[np.int64]]:
    """Positions of the examples of steps ``start`` to ``stop``: shuffled epochs without end, cut in batches."""
    epoch, drawn = -1, np.zeros(0, dtype=np.int64)
    for step in range(start, stop):
        wanted = np.arange(step * batch_size, (step + 1) * batch_size)
        parts = []
        for number in np.unique(wanted // examples):
            if number != epoch:
                epoch, drawn = int(number), np.random.default_rng((seed, int(number))).permutation(examples)
            parts.append(drawn[wanted[wanted // examples == number] % examples])
        yield np.concatenate(parts)


def learning_rate_scale(step: int, steps: int, warmup_share: float) -> float:
    """Linear warm-up, then linear decay to nothing."""
    warmup = max(1, round(steps * warmup_share))
    return (step + 1) / warmup if step < warmup else max(0.0, (steps - step) / max(1, steps - warmup))


def in_bfloat16(device: torch.device, precision: str) -> bool:
    """Whether matrices are multiplied in bfloat16; ``auto``: where the processor multiplies them faster so."""
    if precision != "auto":
        return precision == "bf16"
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


class Learner:
    """A model under training, on one device; ``share``: this worker's rank, and how many share each batch."""

    def __init__(self, fit: Fit, device: torch.device, share: tuple[int, int] = (0, 1)) -> None:
        self.fit, self.device, self.share = fit, device, share
        self.model = load_encoder(fit.encoder, fit.classes, fit.pooling, fit.recipe.dropout, fit.seed).to(device)
        self.trained: nn.Module = self.model  # What a step runs; a wrapper around the model where workers share it.
        self.bf16 = in_bfloat16(device, fit.recipe.precision)
        embeddings = getattr(getattr(self.model.encoder, "embeddings", None), "word_embeddings", None)
        if embeddings is not None:
            # Few texts hold few words: moved, those would leave the others behind; left, steps are a tenth faster.
            embeddings.weight.requires_grad_(False)
        self.optimizer = _optimizer(self.model, fit.recipe, fused=device.type == "cpu")

    def probe(self) -> None:
        """Begin with the head that fits the pretrained features best (Kumar et al. 2022: LP-FT), not a random one."""
        fit = self.fit
        generator = np.random.default_rng((fit.seed, 2))
        chosen = generator.choice(len(fit.tokens), min(PROBED, len(fit.tokens)), replace=False, shuffle=False)
        labels = fit.targets[chosen].argmax(axis=1)
        present = np.unique(labels)
        if len(present) < 2:
            return
        crops = [crop(fit.tokens[i], fit.crop_tokens, fit.edges, generator) for i in chosen]
        states = features(self.model, crops, fit.pad_token_id, self.device, self.bf16)
        scale = float(np.linalg.norm(states, axis=1).mean()) or 1.0
        probe = LogisticRegression(max_iter=1000).fit(states / scale, labels)
        weight, bias = probe.coef_, probe.intercept_
        if len(present) == 2:
            weight, bias = np.vstack([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
        with torch.no_grad():
            self.model.head.weight[present] = torch.tensor(weight / scale, dtype=torch.float32, device=self.device)
            self.model.head.bias[present] = torch.tensor(bias, dtype=torch.float32, device=self.device)

    def step(self, step: int, batch: NDArray[np.int64]) -> float:
        """Learn from the examples at these positions; returns the loss."""
        fit, (rank, world) = self.fit, self.share
        torch.manual_seed((fit.seed * 1_000_003 + step) * world + rank)
        generator = np.random.default_rng((fit.seed, 3, step))
        crops = [crop(fit.tokens[position], fit.crop_tokens, fit.edges, generator) for position in batch]
        scale = learning_rate_scale(step, fit.steps, fit.recipe.warmup_share)
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * scale
        self.trained.train()
        mine = slice(rank, None, world)
        targets = torch.from_numpy(fit.targets[batch[mine]]).to(self.device)
        weights = torch.from_numpy(fit.weights[batch[mine]]).to(self.device)
        logits = self._logits(crops[mine])
        losses = functional.cross_entropy(logits, targets, reduction="none", label_smoothing=fit.recipe.label_smoothing)
        # By the weight of the whole batch, so that the mean over workers is the loss of the batch.
        loss: Tensor = (losses * weights).sum() / (float(fit.weights[batch].sum()) / world)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        return float(loss.detach())

    def predict(self, tokens: TokenIds) -> Floats:
        """Probabilities (texts, classes)."""
        return read(self.model, tokens, self.fit.pad_token_id, self.device, self.bf16)

    def _logits(self, encoded: list[NDArray[np.int32]]) -> Tensor:
        input_ids, mask = (torch.from_numpy(part).to(self.device) for part in pad(encoded, self.fit.pad_token_id))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            logits: Tensor = self.trained(input_ids, mask)
        return logits.float()


def features(
    model: TextClassifier, encoded: Sequence[NDArray[np.int32]], pad_token_id: int, device: torch.device, bf16: bool
) -> Floats:
    """Pooled states (texts, hidden) of texts as they are."""
    model.eval()
    found = np.zeros((len(encoded), model.head.in_features))
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=bf16):
        for positions in by_length(encoded, READ_BATCH):
            parts = pad([encoded[position] for position in positions], pad_token_id)
            pooled = model.pool(*(torch.from_numpy(part).to(device) for part in parts))
            found[positions] = pooled.float().cpu().numpy()
    return found


def read(model: TextClassifier, tokens: TokenIds, pad_token_id: int, device: torch.device, bf16: bool) -> Floats:
    """Probabilities (texts, classes) of texts as they are, in the order given."""
    model.eval()
    logits = np.zeros((len(tokens), model.head.out_features))
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=bf16):
        for positions in by_length(tokens, READ_BATCH):
            parts = pad([tokens[position] for position in positions], pad_token_id)
            output = model(*(torch.from_numpy(part).to(device) for part in parts))
            logits[positions] = output.float().cpu().numpy()
    return softmax(logits)


def _optimizer(model: TextClassifier, recipe: TrainingSettings, fused: bool) -> torch.optim.AdamW:
    encoder = [parameter for parameter in model.encoder.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in encoder if p.ndim > 1], "lr": recipe.learning_rate, "weight_decay": recipe.weight_decay},
        {"params": [p for p in encoder if p.ndim <= 1], "lr": recipe.learning_rate, "weight_decay": 0.0},
        {"params": list(model.head.parameters()), "lr": recipe.head_learning_rate, "weight_decay": 0.0},
    ]
    for group in groups:
        group["peak"] = group["lr"]
    return torch.optim.AdamW(groups, fused=fused)
