"""The baselines that need torch, independent of tlnlp's training: plain fine-tuning, and a frozen encoder."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import numpy as np
import torch
import transformers
from encoders import EncoderFiles
from sklearn.linear_model import LogisticRegression
from tasks import Outcome, Task
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoModel

from tlnlp.model.combine import Floats, softmax

BATCH_SIZE = 16
EPOCHS = 8
MIN_STEPS = 80
ENCODER_RATE = 8e-5
HEAD_RATE = 2e-3
WARMUP_SHARE = 0.1
WEIGHT_DECAY = 0.01
HEAD_DROPOUT = 0.1


class Pooled(nn.Module):
    """An encoder with the pooling of its files, and a linear head if ``classes`` is given."""

    def __init__(self, files: EncoderFiles, classes: int | None, seed: int) -> None:
        super().__init__()
        transformers.utils.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
        transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        torch.manual_seed(seed)
        self.encoder = AutoModel.from_pretrained(files.folder, trust_remote_code=False, dtype=torch.float32)
        self.pooling, self.normalize = files.pooling, files.normalize and classes is None
        width = self.encoder.config.hidden_size
        self.head = nn.Sequential(nn.Dropout(HEAD_DROPOUT), nn.Linear(width, classes)) if classes else nn.Identity()

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return logits (batch, classes), or embeddings (batch, hidden) without a head."""
        states = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        mask = attention_mask.unsqueeze(-1).to(states.dtype)
        pooled = states[:, 0] if self.pooling == "cls" else (states * mask).sum(1) / mask.sum(1)
        output: Tensor = self.head(functional.normalize(pooled) if self.normalize else pooled)
        return output


def plain(task: Task, epochs: int = EPOCHS) -> Outcome:
    """Fine-tune with a new linear head on the pooled states (Devlin et al. 2019): AdamW, warm-up, linear decay."""
    started, files = time.monotonic(), task.files
    labelled, test = (files.encode(texts, task.data.max_length) for texts in task.prepared())
    model = Pooled(files, len(task.classes), task.seed).to(device())
    steps = max(MIN_STEPS, math.ceil(len(labelled) * epochs / BATCH_SIZE))
    _fit(model, labelled, task.targets, steps, task.seed, files.pad_id)
    trained = time.monotonic()
    probabilities = softmax(_batched(model, test, files.pad_id))
    command = (
        f"plain({task.encoder}, epochs={epochs}, steps={steps}, rates={ENCODER_RATE}/{HEAD_RATE}, seed={task.seed})"
    )
    seconds, predict_s = trained - started, time.monotonic() - trained
    return Outcome(probabilities, task.classes, seconds, predict_s, command, {"steps": steps})


def frozen(task: Task) -> Outcome:
    """Fit a logistic regression on the embeddings of the frozen encoder."""
    started = time.monotonic()
    labelled, test = task.prepared()
    embeddings = embed(task.files, labelled, task.data.max_length)
    linear = LogisticRegression(max_iter=1000).fit(embeddings, task.targets)
    trained = time.monotonic()
    probabilities: Floats = linear.predict_proba(embed(task.files, test, task.data.max_length))
    command = f"LogisticRegression().fit({task.encoder} embeddings, labels), seed={task.seed}"
    return Outcome(probabilities, task.classes, trained - started, time.monotonic() - trained, command)


def embed(files: EncoderFiles, texts: Sequence[str], max_length: int) -> Floats:
    """Return embeddings (texts, hidden) of prepared texts, with the encoder's prompt, pooling and normalisation."""
    model = Pooled(files, None, seed=0).to(device())
    return _batched(model, files.encode(texts, max_length), files.pad_id)


def device() -> torch.device:
    """Return the GPU, or the CPU if there is none."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _fit(model: Pooled, encoded: list[list[int]], targets: list[int], steps: int, seed: int, pad_id: int) -> None:
    optimizer = torch.optim.AdamW(
        [
            {"params": list(model.encoder.parameters()), "lr": ENCODER_RATE, "weight_decay": WEIGHT_DECAY},
            {"params": list(model.head.parameters()), "lr": HEAD_RATE, "weight_decay": 0.0},
        ]
    )
    warmup = max(1, round(steps * WARMUP_SHARE))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: (step + 1) / warmup if step < warmup else (steps - step) / max(1, steps - warmup)
    )
    generator, waiting = np.random.default_rng(seed), list[int]()
    model.train()
    for _ in range(steps):
        while len(waiting) < BATCH_SIZE:
            waiting += generator.permutation(len(encoded)).tolist()
        batch, waiting = waiting[:BATCH_SIZE], waiting[BATCH_SIZE:]
        logits = model(*_padded([encoded[i] for i in batch], pad_id))
        loss = functional.cross_entropy(logits, torch.tensor([targets[i] for i in batch], device=device()))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()


def _padded(encoded: list[list[int]], pad_id: int) -> tuple[Tensor, Tensor]:
    """Return ``input_ids`` and ``attention_mask``, (batch, tokens), on the device."""
    width = max(map(len, encoded))
    ids = torch.tensor([[*row, *[pad_id] * (width - len(row))] for row in encoded], device=device())
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in encoded], device=device())
    return ids, mask


def _batched(model: Pooled, encoded: list[list[int]], pad_id: int) -> Floats:
    """Return the model's output (texts, width) in the order of the texts. A batch has texts of similar length."""
    model.eval()
    order = sorted(range(len(encoded)), key=lambda i: -len(encoded[i]))
    rows: list[Floats] = [np.zeros(0)] * len(encoded)
    with torch.inference_mode():
        for start in range(0, len(order), 2 * BATCH_SIZE):
            positions = order[start : start + 2 * BATCH_SIZE]
            output = model(*_padded([encoded[i] for i in positions], pad_id)).double().cpu().numpy()
            for position, row in zip(positions, output, strict=True):
                rows[position] = row
    return np.stack(rows)
