"""Say how a bundle scores: which engine runs the encoder, and what the n-gram view settles without it."""

from __future__ import annotations

from dataclasses import dataclass

# The engines; the first one, the reference, runs any encoder.
ENGINE_NAMES = ONNX_FP32, CTRANSLATE2_INT8 = ("onnx-fp32", "ctranslate2-int8")
# The cascades, from the slowest to the fastest; ``none``: the encoder reads every text.
CASCADE_NAMES = NONE, SAFE, FAST = ("none", "safe", "fast")


@dataclass(frozen=True)
class Profile:
    """Say how a bundle scores: only scores of the same bundle and profile are the same.

    Fields:
        engine: the engine that runs the encoder, a name in ``ENGINES``.
        cascade: the cascade that settles texts without the encoder, ``safe`` or ``fast``; ``none`` without one.
    """

    engine: str = ONNX_FP32
    cascade: str = NONE

    def scored_by(self, digest: str) -> str:
        """Return the name of what gives a text its score, as rows have it: profile and digest of the bundle."""
        return f"{self}@{digest[:16]}"

    def __str__(self) -> str:
        return self.engine if self.cascade == NONE else f"{self.engine}+{self.cascade}"


def slower(cascade: str) -> tuple[str, ...]:
    """Return the names of the cascades that may stand for one, the fastest first."""
    return {FAST: (FAST, SAFE), SAFE: (SAFE,), NONE: ()}[cascade]
