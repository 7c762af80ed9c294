"""Train one encoder, step by step. No Ray here.

Targets are class probabilities with a weight per text, so labels and pseudo-labels are trained on in the same way. A
step reads a window at a random place of each long text: in the same time, many short windows teach the model more than
few whole texts.

The examples and the randomness of a step depend on (seed, step) alone. A fit that resumes from a checkpoint, or that
runs on another number of workers, therefore reads the same batches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

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
from tlnlp.train.fit.inference import pooled_states, predict
from tlnlp.train.fit.linear_head import linear_head
from tlnlp.train.fit.losses import contrast, gather_states
from tlnlp.train.fit.precision import in_bfloat16

# The most examples that a head is fitted on.
MAX_HEAD_EXAMPLES = 512


class Trainer:
    """Train a model on one device.

    Args:
        fit: the inputs of the fit.
        device: the device of this worker.
        share: the rank of this worker, and the number of workers that share each batch.
    """

    def __init__(self, fit: EncoderFit, device: torch.device, share: tuple[int, int] = (0, 1)) -> None:
        self.fit, self.device, self.share = fit, device, share
        # On CPUs the backward pass of fused attention is slow; with eager attention a step is a tenth faster.
        attention = "eager" if device.type == "cpu" else "sdpa"
        self.model = new_model(fit, fit.recipe.dropout, attention).to(device)
        if fit.initial is not None:
            self.model.load_state_dict({name: torch.as_tensor(tensor) for name, tensor in fit.initial.items()})
        if fit.layers is not None:
            keep_layers(self.model.encoder, fit.layers)
        # The module that a step calls: the model, or the wrapper that synchronises it with other workers.
        self.parallel_model: nn.Module = self.model
        self.bf16 = in_bfloat16(device, fit.recipe.precision)
        freeze_lowest(self.model.encoder, fit.recipe.frozen_layers)
        self.optimizer = _optimizer(self.model, fit.recipe, fused=device.type == "cpu")

    def batches(self, start: int) -> Iterator[tuple[int, NDArray[np.int64]]]:
        """Yield each step from ``start`` to the last, with the positions of its examples."""
        fit = self.fit
        if fit.objective == "contrast":
            labels = fit.targets.argmax(axis=1)
            positions = balanced_batches(labels, fit.recipe.batch_size, fit.seed, start, fit.steps)
        else:
            positions = batches(len(fit.tokens), fit.recipe.batch_size, fit.seed, start, fit.steps)
        return enumerate(positions, start=start)

    def begin(self) -> None:
        """Prepare the first step: for cross-entropy, fit the head to the states of the initial encoder.

        Source: LP-FT (Kumar et al. 2022). A random head would distort the encoder in the first steps.
        """
        if self.fit.objective == "classify":
            self._fit_head(self.fit.crop_tokens)

    def finish(self) -> None:
        """Complete the model after the last step: for the contrastive loss, fit a head to the trained encoder."""
        if self.fit.objective == "contrast":
            self._interpolate_to_pretrained()
            self._fit_head(self.fit.read_tokens)

    def _interpolate_to_pretrained(self) -> None:
        """Move the encoder part of the way back to its pretrained weights, since few labels move it too far.

        Source: WiSE-FT (Wortsman et al. 2022).
        """
        fit = self.fit
        pretrained = new_model(fit, None).encoder.to(self.device)
        with torch.no_grad():
            for tuned, before in zip(self.model.encoder.parameters(), pretrained.parameters(), strict=True):
                tuned.lerp_(before, 1.0 - fit.recipe.tuned_share)

    def _fit_head(self, tokens: int) -> None:
        """Fit the head to pooled states of windows of this many tokens."""
        fit = self.fit
        generator = np.random.default_rng((fit.seed, 2))
        count = min(MAX_HEAD_EXAMPLES, len(fit.tokens))
        chosen = generator.choice(len(fit.tokens), count, replace=False, shuffle=False)
        crops = [crop(fit.tokens[i], tokens, fit.edges, generator) for i in chosen]
        states = pooled_states(self.model, crops, fit.encoder.pad_token_id, self.device, self.bf16)
        head = linear_head(states, fit.targets[chosen].argmax(axis=1), fit.classes, fit.weights[chosen])
        if head is not None:
            with torch.no_grad():
                self.model.head.weight.copy_(torch.from_numpy(head[0]))
                self.model.head.bias.copy_(torch.from_numpy(head[1]))

    def step(self, step: int, batch: NDArray[np.int64]) -> float:
        """Train on this worker's share of a batch.

        Args:
            step: the number of the step, from 0.
            batch: the positions of the examples of the whole batch (batch,).

        Returns:
            A loss whose mean over the workers is the loss of the batch.
        """
        fit, (rank, world) = self.fit, self.share
        torch.manual_seed((fit.seed * 1_000_003 + step) * world + rank)
        generator = np.random.default_rng((fit.seed, 3, step))
        crops = [crop(fit.tokens[position], fit.crop_tokens, fit.edges, generator) for position in batch]
        scale = learning_rate_scale(step, fit.steps, fit.recipe.warmup_share)
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * scale
        self.parallel_model.train()
        mine = slice(rank, None, world)
        inputs = [torch.from_numpy(part).to(self.device) for part in pad(crops[mine], fit.encoder.pad_token_id)]
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            output = self.parallel_model(*inputs, features=fit.objective == "contrast").float()
        targets, weights = (torch.from_numpy(of[batch]).to(self.device) for of in (fit.targets, fit.weights))
        if fit.objective == "contrast":
            loss = contrast(gather_states(output, rank, world), targets, weights)
        else:
            smoothing = fit.recipe.label_smoothing
            losses = functional.cross_entropy(output, targets[mine], reduction="none", label_smoothing=smoothing)
            # Divided by the weight of the whole batch, so that the mean over workers is the loss of the batch.
            loss = (losses * weights[mine]).sum() / (weights.sum() / world)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        return float(loss.detach())

    def predict(self, tokens: TokenIds) -> Floats:
        """Return the probabilities (texts, classes) of tokenized texts."""
        return predict(self.model, tokens, self.fit.encoder.pad_token_id, self.device, self.bf16)


def layers_of(encoder: nn.Module) -> nn.ModuleList:
    """Return the layers of an encoder."""
    return max((part for part in encoder.modules() if isinstance(part, nn.ModuleList)), key=len)


def keep_layers(encoder: nn.Module, positions: Sequence[int]) -> None:
    """Remove the other layers of an encoder, in place.

    Source: the initial student of DistilBERT (Sanh et al. 2019), which has every second layer of its teacher.
    """
    layers = layers_of(encoder)
    kept = [layers[position] for position in positions]
    del layers[:]
    layers.extend(kept)
    config = encoder.config
    setattr(config, "n_layers" if hasattr(config, "n_layers") else "num_hidden_layers", len(kept))


def freeze_lowest(encoder: nn.Module, share: float) -> None:
    """Exclude the word embeddings and the lowest layers of an encoder from training.

    Few training texts contain few of the words; if those embeddings moved, the other words would no longer fit them.
    The lowest layers serve any task, and steps that do not reach them are faster.

    Args:
        encoder: the encoder, changed in place.
        share: the share of the layers to freeze, from 0 to 1.

    Source: Lee et al. 2019 (What would Elsa do?).
    """
    encoder.get_input_embeddings().requires_grad_(False)  # type: ignore[operator]
    layers = layers_of(encoder)
    frozen = list(layers)[: int(share * len(layers))]
    embeddings = getattr(encoder, "embeddings", None)
    if frozen and isinstance(embeddings, nn.Module):
        frozen.append(embeddings)
    for part in frozen:
        part.requires_grad_(False)


def _optimizer(model: TextClassifier, recipe: TrainingSettings, fused: bool) -> torch.optim.AdamW:
    """Return AdamW with weight decay on matrices alone, and with a learning rate of its own for the head."""
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
    """Load the pretrained encoder of a fit, with a random head.

    Args:
        dropout: None for the dropout that the encoder was pretrained with.
        attention: the attention implementation, as transformers names it.
    """
    name, conventions = fit.encoder.name, fit.encoder.conventions
    return load_encoder(name, fit.classes, conventions.pooling, dropout, fit.seed, attention, conventions.normalise)
