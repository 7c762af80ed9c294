"""What an encoder costs on this machine: the time that it takes to read text, measured for a few seconds."""

from __future__ import annotations

import time

import torch
import transformers
from transformers import AutoModel

# A batch as training reads.
BATCH, TOKENS = 32, 128
MEASURED_S = 2.0
MOST_BATCHES = 20


def seconds_per_million_tokens(folder: str, device: torch.device, bf16: bool) -> float:
    """Measure the seconds that an encoder takes to read a million tokens here, in windows of 128; no step is learned.

    ``bf16``: whether matrices are multiplied in bfloat16.

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
        model(input_ids=ids, attention_mask=mask)  # The first is slower: memory is laid out, kernels are chosen.
        while len(taken_s) < MOST_BATCHES and sum(taken_s) < MEASURED_S:
            began_s = time.perf_counter()
            model(input_ids=ids, attention_mask=mask).last_hidden_state.sum().item()  # Waits for a GPU to be done.
            taken_s.append(time.perf_counter() - began_s)
    # The fastest: whatever else runs on the machine only ever adds.
    return min(taken_s) / (BATCH * TOKENS) * 1e6
