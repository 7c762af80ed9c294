"""In which precision matrices are multiplied: measured, as a processor that has bfloat16 need not be faster in it."""

from __future__ import annotations

import time
from functools import cache

import torch
from torch.nn import functional

# As many rows and columns as a batch and a small encoder have.
SHAPE = (1024, 384, 1536)
TIMES = 8
# bfloat16 costs some precision, so it must be clearly faster.
FASTER = 1.2


def in_bfloat16(device: torch.device, precision: str) -> bool:
    """Whether matrices are multiplied in bfloat16; ``precision`` is auto (where that is faster), fp32 or bf16."""
    if precision != "auto":
        return precision == "bf16"
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16")) and _bfloat16_is_faster()


@cache
def _bfloat16_is_faster() -> bool:
    """Time one product of matrices in both precisions, in turns; some tenths of a second, once a process."""
    times = [(_seconds(torch.float32), _seconds(torch.bfloat16)) for _ in range(TIMES + 1)]
    # The first is slowed by what is done once; of the others the fastest had the processor to itself.
    return min(fp32 for fp32, _ in times[1:]) > FASTER * min(bf16 for _, bf16 in times[1:])


def _seconds(kind: torch.dtype) -> float:
    rows, inner, columns = SHAPE
    states, weights = torch.ones((rows, inner), dtype=kind), torch.ones((columns, inner), dtype=kind)
    began_s = time.perf_counter()
    functional.linear(states, weights)
    return time.perf_counter() - began_s
