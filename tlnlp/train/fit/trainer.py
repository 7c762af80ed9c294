"""The steps of one fit of an encoder. No Ray here.

A fit learns from soft targets with weights, so labels and the guesses of other views are learned from alike. Of a long
text each step reads a window at a random place: many short windows teach more a second than few whole texts.

The order of the examples and the randomness of each step are functions of (seed, step) alone, so a run that resumes
from a checkpoint, or runs on another number of workers, goes on with the same batches.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from tlnlp.config import TrainingSettings
from tlnlp.model.combine import Floats
from tlnlp.model.tokenize import TokenIds, crop, pad
from tlnlp.model.torch_encoder import TextClassifier, load_encoder
from tlnlp.train.fit.batches import balanced_batches, batches, learning_rate_scale
from tlnlp.train.fit.encoder_fit import EncoderFit
from tlnlp.train.fit.inference import features, read
from tlnlp.train.fit.linear_head import linear_head
from tlnlp.train.fit.losses import contrast, gathered
from tlnlp.train.fit.precision import in_bfloat16

# Examples that the first weights of the head are fitted on, at most.
PROBED = 512


class Trainer:
    """A model under training, on one device; ``share``: this worker's rank, and how many share each batch."""

    def __init__(self, fit: EncoderFit, device: torch.device, share: tuple[int, int] = (0, 1)) -> None:
        self.fit, self.device, self.share = fit, device, share
        # On CPUs the fused attention is fast forward and slow backward; written out, a step is a tenth faster.
        attention = "eager" if device.type == "cpu" else "sdpa"
        self.model = new_model(fit, fit.recipe.dropout, attention).to(device)
        if fit.initial is not None:
            self.model.load_state_dict({name: torch.as_tensor(tensor) for name, tensor in fit.initial.items()})
        self.trained: nn.Module = self.model  # What a step runs; a wrapper around the model where workers share it.
        self.bf16 = in_bfloat16(device, fit.recipe.precision)
        freeze_lowest(self.model.encoder, fit.recipe.frozen_layers)
        self.optimizer = _optimizer(self.model, fit.recipe, fused=device.type == "cpu")

    def batches(self, start: int) -> Iterator[tuple[int, NDArray[np.int64]]]:
        """The steps that are left, each with the positions of its examples."""
        fit = self.fit
        if fit.objective == "contrast":
            labels = fit.targets.argmax(axis=1)
            drawn = balanced_batches(labels, fit.recipe.batch_size, fit.seed, start, fit.steps)
        else:
            drawn = batches(len(fit.tokens), fit.recipe.batch_size, fit.seed, start, fit.steps)
        return enumerate(drawn, start=start)

    def begin(self) -> None:
        """Begin with the head that fits the pretrained features best (Kumar et al. 2022: LP-FT), not a random one."""
        if self.fit.objective == "classify":
            self._fit_head(self.fit.crop_tokens)

    def finish(self) -> None:
        """Where no head learned along, fit one to the features as they have become."""
        if self.fit.objective == "contrast":
            self._draw_back()
            self._fit_head(self.fit.read_tokens)

    def _draw_back(self) -> None:
        """Part of the way back to the pretrained weights (Wortsman et al. 2022: WiSE-FT): few labels say where to go,
        and cannot say how far."""
        fit = self.fit
        pretrained = new_model(fit, None).encoder.to(self.device)
        with torch.no_grad():
            for tuned, before in zip(self.model.encoder.parameters(), pretrained.parameters(), strict=True):
                tuned.lerp_(before, 1.0 - fit.recipe.tuned_share)

    def _fit_head(self, tokens: int) -> None:
        fit = self.fit
        generator = np.random.default_rng((fit.seed, 2))
        chosen = generator.choice(len(fit.tokens), min(PROBED, len(fit.tokens)), replace=False, shuffle=False)
        crops = [crop(fit.tokens[i], tokens, fit.edges, generator) for i in chosen]
        states = features(self.model, crops, fit.encoder.pad_token_id, self.device, self.bf16)
        head = linear_head(states, fit.targets[chosen].argmax(axis=1), fit.classes, fit.weights[chosen])
        if head is not None:
            with torch.no_grad():
                self.model.head.weight.copy_(torch.from_numpy(head[0]))
                self.model.head.bias.copy_(torch.from_numpy(head[1]))

    def step(self, step: int, batch: NDArray[np.int64]) -> float:
        """Learn from the examples at these positions; returns a loss whose mean over workers is the batch's."""
        fit, (rank, world) = self.fit, self.share
        torch.manual_seed((fit.seed * 1_000_003 + step) * world + rank)
        generator = np.random.default_rng((fit.seed, 3, step))
        crops = [crop(fit.tokens[position], fit.crop_tokens, fit.edges, generator) for position in batch]
        scale = learning_rate_scale(step, fit.steps, fit.recipe.warmup_share)
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * scale
        self.trained.train()
        mine = slice(rank, None, world)
        inputs = [torch.from_numpy(part).to(self.device) for part in pad(crops[mine], fit.encoder.pad_token_id)]
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            output = self.trained(*inputs, features=fit.objective == "contrast").float()
        targets, weights = (torch.from_numpy(of[batch]).to(self.device) for of in (fit.targets, fit.weights))
        if fit.objective == "contrast":
            loss = contrast(gathered(output, rank, world), targets, weights)
        else:
            smoothing = fit.recipe.label_smoothing
            losses = functional.cross_entropy(output, targets[mine], reduction="none", label_smoothing=smoothing)
            # By the weight of the whole batch, so that the mean over workers is the loss of the batch.
            loss = (losses * weights[mine]).sum() / (weights.sum() / world)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        return float(loss.detach())

    def predict(self, tokens: TokenIds) -> Floats:
        """Probabilities (texts, classes)."""
        return read(self.model, tokens, self.fit.encoder.pad_token_id, self.device, self.bf16)


def freeze_lowest(encoder: nn.Module, share: float) -> None:
    """Keep the embeddings of words, and this share of the layers, the lowest, as pretrained.

    Few texts hold few words: moved, those would leave the others behind. The lowest layers are of use to any task, and
    steps that do not reach them are faster (Lee et al. 2019: What would Elsa do?).
    """
    encoder.get_input_embeddings().requires_grad_(False)  # type: ignore[operator]
    layers = max((part for part in encoder.modules() if isinstance(part, nn.ModuleList)), key=len)
    frozen = list(layers)[: int(share * len(layers))]
    embeddings = getattr(encoder, "embeddings", None)
    if frozen and isinstance(embeddings, nn.Module):
        frozen.append(embeddings)
    for part in frozen:
        part.requires_grad_(False)


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


def new_model(fit: EncoderFit, dropout: float | None, attention: str = "sdpa") -> TextClassifier:
    """Load the pretrained encoder of a fit, with a fresh head."""
    name, how = fit.encoder.name, fit.encoder.conventions
    return load_encoder(name, fit.classes, how.pooling, dropout, fit.seed, attention, how.normalise)
