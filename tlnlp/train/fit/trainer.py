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
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.distributed.nn.functional import all_gather
from torch.nn import functional

from tlnlp.config import TrainingSettings
from tlnlp.model.combine import Floats, softmax
from tlnlp.model.encoder_conventions import EncoderSource
from tlnlp.model.tokenize import TokenIds, by_length, crop, pad
from tlnlp.model.torch_encoder import TextClassifier, load_encoder
from tlnlp.train.fit.linear_head import linear_head
from tlnlp.train.fit.precision import in_bfloat16

# Texts at once where nothing is learned from them.
READ_BATCH = 32
# Examples that the first weights of the head are fitted on, at most.
PROBED = 512


# ``contrast``: texts of a class are drawn together and others apart, then a head is fitted; strong with few labels.
# ``classify``: cross-entropy of a head that learns along; strong with many examples.
Objective = Literal["contrast", "classify"]


@dataclass(frozen=True)
class Fit:
    """One fit, as a worker gets it.

    ``tokens``: of whole texts, prompt and special tokens at their ``edges``; ``targets`` (texts, classes):
    probabilities; ``weights`` (texts,): how much each counts; ``held_out``: texts to predict at the end, cut as scoring
    cuts them.
    Steps read windows of ``crop_tokens``; the last head is fitted on windows of ``read_tokens``, as scoring reads.
    ``initial``: tensors that cross-entropy begins from; None: the pretrained encoder.
    """

    encoder: EncoderSource
    edges: tuple[int, int]
    tokens: TokenIds
    targets: NDArray[np.float32]
    weights: NDArray[np.float32]
    held_out: TokenIds
    steps: int
    crop_tokens: int
    read_tokens: int
    objective: Objective
    seed: int
    recipe: TrainingSettings
    initial: dict[str, Any] | None = None

    @property
    def classes(self) -> int:
        return int(self.targets.shape[1])

    @property
    def learned_tokens(self) -> float:
        """About how many tokens its steps read."""
        return self.steps * self.recipe.batch_size * float(np.minimum(self.tokens.lengths, self.crop_tokens).mean())

    def load(self, dropout: float | None, attention: str = "sdpa") -> TextClassifier:
        """The pretrained encoder with a fresh head."""
        name, how = self.encoder.name, self.encoder.conventions
        return load_encoder(name, self.classes, how.pooling, dropout, self.seed, attention, how.normalise)


def steps_of(examples: int, recipe: TrainingSettings) -> int:
    """Steps of a fit on labels: so many passes over them, within the limits of the recipe."""
    wanted, most = (math.ceil(examples * passes / recipe.batch_size) for passes in (recipe.epochs, recipe.max_passes))
    return min(max(wanted, min(most, recipe.min_steps)), recipe.max_steps)


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


def balanced_batches(
    labels: NDArray[np.int64], batch_size: int, seed: int, start: int, stop: int
) -> Iterator[NDArray[np.int64]]:
    """As ``batches``, with the classes in turn, so that each step sees texts to draw together and to keep apart.

    A batch takes two texts or more of as many classes as it has room for; over the steps all classes come alike.
    """
    members = [np.flatnonzero(labels == k) for k in np.unique(labels)]
    together = min(len(members), max(1, batch_size // 2))
    of_class = [batches(len(positions), 1, seed * 1009 + k, 0, 1 << 62) for k, positions in enumerate(members)]
    turns = batches(len(members), together, seed, 0, stop)
    for step in range(stop):
        classes = np.resize(next(turns), batch_size)
        drawn = np.array([members[k][next(of_class[k])[0]] for k in classes])
        if step >= start:
            yield drawn


def learning_rate_scale(step: int, steps: int, warmup_share: float) -> float:
    """Linear warm-up, then linear decay to nothing."""
    warmup = max(1, round(steps * warmup_share))
    return (step + 1) / warmup if step < warmup else max(0.0, (steps - step) / max(1, steps - warmup))


class Learner:
    """A model under training, on one device; ``share``: this worker's rank, and how many share each batch."""

    def __init__(self, fit: Fit, device: torch.device, share: tuple[int, int] = (0, 1)) -> None:
        self.fit, self.device, self.share = fit, device, share
        # On CPUs the fused attention is fast forward and slow backward; written out, a step is a tenth faster.
        attention = "eager" if device.type == "cpu" else "sdpa"
        self.model = fit.load(fit.recipe.dropout, attention).to(device)
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
        pretrained = fit.load(None).encoder.to(self.device)
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
    return torch.stack(parts, dim=1).flatten(0, 1)


def features(
    model: TextClassifier, encoded: Sequence[NDArray[np.int32]], pad_token_id: int, device: torch.device, bf16: bool
) -> Floats:
    """Pooled states (texts, hidden) of texts as they are, in the order given."""
    return _outputs(model, encoded, pad_token_id, device, bf16, features=True)


def read(
    model: TextClassifier, encoded: Sequence[NDArray[np.int32]], pad_token_id: int, device: torch.device, bf16: bool
) -> Floats:
    """Probabilities (texts, classes) of texts as they are, in the order given."""
    return softmax(_outputs(model, encoded, pad_token_id, device, bf16, features=False))


def _outputs(
    model: TextClassifier,
    encoded: Sequence[NDArray[np.int32]],
    pad_token_id: int,
    device: torch.device,
    bf16: bool,
    *,
    features: bool,
) -> Floats:
    model.eval()
    found = np.zeros((len(encoded), model.head.in_features if features else model.head.out_features))
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=bf16):
        for positions in by_length(encoded, READ_BATCH):
            parts = pad([encoded[position] for position in positions], pad_token_id)
            output = model(*(torch.from_numpy(part).to(device) for part in parts), features=features)
            found[positions] = output.float().cpu().numpy()
    return found


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
