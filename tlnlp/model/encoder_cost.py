"""Measure the speed of an encoder on this machine, in a few seconds."""

from __future__ import annotations

import time

import torch
import transformers
from transformers import AutoModel

# Texts in a batch and tokens in a text, as in training.
BATCH, TOKENS = 32, 128
MEASURED_S = 2.0
MOST_BATCHES = 20


def seconds_per_million_tokens(folder: str, device: torch.device, bf16: bool) -> float:
    """Return the seconds that forward passes take per million tokens, in windows of 128 tokens.

    Args:
        folder: the encoder's folder.
        bf16: whether matrices are multiplied in bfloat16.

    Raises:
        OSError, ValueError: transformers cannot open the folder.
    """
    transformers.utils.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    model = AutoModel.from_pretrained(folder, trust_remote_code=False, dtype=torch.float32).eval().to(device)
    words = int(model.config.vocab_size)
    ids = torch.randint(words // 2, words, (BATCH, TOKENS), generator=torch.Generator().manual_seed(0)).to(device)
    mask = torch.ones_like(ids)
    taken_s: list[float] = []
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=bf16):
        model(input_ids=ids, attention_mask=mask)  # The first pass is slower: it allocates memory and selects kernels.
        while len(taken_s) < MOST_BATCHES and sum(taken_s) < MEASURED_S:
            began_s = time.perf_counter()
            model(input_ids=ids, attention_mask=mask).last_hidden_state.sum().item()  # item() waits for the GPU.
            taken_s.append(time.perf_counter() - began_s)
    # Other work on the machine can only slow a batch down, so the fastest is the best estimate.
    return min(taken_s) / (BATCH * TOKENS) * 1e6
