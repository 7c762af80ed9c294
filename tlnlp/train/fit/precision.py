"""Choose the precision of matrix products.

On CPUs the choice is measured: a processor that supports bfloat16 is not always faster with it.
"""

from __future__ import annotations

import time
from functools import cache

import torch
from torch.nn import functional

# Rows, inner columns and outer columns of the timed product: those of a batch in a small encoder.
SHAPE = (1024, 384, 1536)
REPEATS = 8
# bfloat16 loses some accuracy, so a small speed-up is not worth it.
MIN_SPEEDUP = 1.2


def in_bfloat16(device: torch.device, precision: str) -> bool:
    """Return whether a device multiplies matrices in bfloat16.

    Args:
        precision: ``fp32``, ``bf16``, or ``auto``: bfloat16 on GPUs that support it, and on CPUs where it is faster.
    """
    if precision != "auto":
        return precision == "bf16"
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16")) and _bfloat16_is_faster()


@cache
def _bfloat16_is_faster() -> bool:
    """Time one matrix product in both precisions, in turns. This takes some tenths of a second, once per process."""
    times = [(_seconds(torch.float32), _seconds(torch.bfloat16)) for _ in range(REPEATS + 1)]
    # The first pair includes one-time set-up. The minimum of the others is least disturbed by other processes.
    return min(fp32 for fp32, _ in times[1:]) > MIN_SPEEDUP * min(bf16 for _, bf16 in times[1:])


def _seconds(dtype: torch.dtype) -> float:
    """Return the duration of one matrix product."""
    rows, inner, columns = SHAPE
    states, weights = torch.ones((rows, inner), dtype=dtype), torch.ones((columns, inner), dtype=dtype)
    began_s = time.perf_counter()
    functional.linear(states, weights)
    return time.perf_counter() - began_s
