"""The baselines that need torch, in small loops of their own: plain fine-tuning, and a frozen encoder."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from tasks import ENCODER, Outcome, Task
from tokenizers import Tokenizer
from torch import nn
from torch.nn import functional

from tlnlp.model import bundle
from tlnlp.model.combine import Floats, softmax
from tlnlp.model.encode import Encoder, by_length, pad
from tlnlp.model.reference import TextClassifier, load_encoder, save_tokenizer

BATCH_SIZE = 16
EPOCHS = 8
MIN_STEPS = 80
ENCODER_RATE = 8e-5
HEAD_RATE = 2e-3
WARMUP_SHARE = 0.1
WEIGHT_DECAY = 0.01
HEAD_SHARE = 0.5


def plain(task: Task, epochs: int = EPOCHS) -> Outcome:
    """Fine-tuning with a fresh linear head on mean pooling, as in Devlin et al. 2019: AdamW, warm-up, linear decay."""
    started = time.monotonic()
    labelled, test, pad_id = _encoded(task)
    model = load_encoder(ENCODER, len(task.classes), "mean", None, task.seed).to(device())
    steps = max(MIN_STEPS, math.ceil(len(labelled) * epochs / BATCH_SIZE))
    _fit(model, labelled, task.targets, steps, task.seed, pad_id)
    trained = time.monotonic()
    probabilities = softmax(_batched(model, test, pad_id))
    command = f"plain(epochs={epochs}, steps={steps}, rates={ENCODER_RATE}/{HEAD_RATE}, seed={task.seed})"
    seconds, predict_s = trained - started, time.monotonic() - trained
    return Outcome(probabilities, task.classes, seconds, predict_s, command, {"steps": steps})


def frozen(task: Task) -> Outcome:
    """Logistic regression on the mean of the encoder's token states, nothing of the encoder moved."""
    started = time.monotonic()
    labelled, test, pad_id = _encoded(task)
    model = load_encoder(ENCODER, len(task.classes), "mean", 0.0, task.seed).to(device())
    model.head = nn.Identity()  # type: ignore[assignment]
    linear = LogisticRegression(max_iter=1000).fit(_batched(model, labelled, pad_id), task.targets)
    trained = time.monotonic()
    probabilities: Floats = linear.predict_proba(_batched(model, test, pad_id))
    command = f"LogisticRegression().fit(mean pooling, labels), seed={task.seed}"
    return Outcome(probabilities, task.classes, trained - started, time.monotonic() - trained, command)


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def head_and_tail(texts: Sequence[str], max_length: int, folder: Path) -> list[str]:
    """Texts of over ``max_length`` tokens cut to head and tail, half of the tokens each, as ``Encoder`` cuts ids."""
    save_tokenizer(ENCODER, _made(folder / "tokenizer"))
    encoder = Encoder.load(folder / "tokenizer" / bundle.TOKENIZER, max_length, HEAD_SHARE)
    tokenizer: Tokenizer = encoder.tokenizer
    room = max_length - len(encoder.prefix) - len(encoder.suffix)
    head = round(room * HEAD_SHARE)
    cut = []
    for text, encoding in zip(texts, tokenizer.encode_batch(list(texts), add_special_tokens=False), strict=True):
        offsets = encoding.offsets
        long = len(offsets) > room
        cut.append(f"{text[: offsets[head - 1][1]]} {text[offsets[head - room][0] :]}" if long else text)
    return cut


def _made(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


def _encoded(task: Task) -> tuple[list[list[int]], list[list[int]], int]:
    """Token ids of labelled and test texts, and the id of the padding token."""
    folder = _made(task.folder / "tokenizer")
    pad_id = save_tokenizer(ENCODER, folder)
    encoder = Encoder.load(folder / bundle.TOKENIZER, task.data.max_length, HEAD_SHARE)
    labelled, test = task.prepared()
    return encoder.encode(labelled), encoder.encode(test), pad_id


def _fit(
    model: TextClassifier, encoded: list[list[int]], targets: list[int], steps: int, seed: int, pad_id: int
) -> None:
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
        input_ids, mask = pad([encoded[i] for i in batch], pad_id)
        logits = model(torch.from_numpy(input_ids).to(device()), torch.from_numpy(mask).to(device()))
        loss = functional.cross_entropy(logits, torch.tensor([targets[i] for i in batch], device=device()))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()


def _batched(model: TextClassifier, encoded: list[list[int]], pad_id: int) -> Floats:
    """The model's output (texts, width), in the order given."""
    model.eval()
    rows: list[Floats] = [np.zeros(0)] * len(encoded)
    with torch.inference_mode():
        for positions in by_length(encoded, 32):
            input_ids, mask = pad([encoded[i] for i in positions], pad_id)
            output = model(torch.from_numpy(input_ids).to(device()), torch.from_numpy(mask).to(device()))
            output = output.double().cpu().numpy()
            for position, row in zip(positions, output, strict=True):
                rows[position] = row
    return np.stack(rows)
