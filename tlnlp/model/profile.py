"""Say how a bundle scores: which engine runs the encoder, and what the n-gram view settles without it."""

from __future__ import annotations

from dataclasses import dataclass

from tlnlp.errors import UsageError

# The engines that a version can be made for; the first one, the reference, runs any encoder.
ENGINE_NAMES = ONNX_FP32, CTRANSLATE2_INT8 = ("onnx-fp32", "ctranslate2-int8")
# The engine for GPUs, which only a night can ask for: the machine that makes a version may have none.
CTRANSLATE2_CUDA_INT8 = "ctranslate2-cuda-int8"
# The engines that read the int8 weights.
INT8_ENGINES = (CTRANSLATE2_INT8, CTRANSLATE2_CUDA_INT8)
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

    @staticmethod
    def parse(scored_by: str) -> tuple[Profile, str]:
        """Return the profile and the digest, or its beginning, that ``scored_by`` names.

        Raises:
            UsageError: it names no profile that a machine without a GPU can have.
        """
        name, _, digest = scored_by.partition("@")
        engine, _, cascade = name.partition("+")
        if engine not in ENGINE_NAMES or (cascade or NONE) not in CASCADE_NAMES:
            raise UsageError(
                "the row names no engine that this machine can run; open a document of a newer night, which names one"
            )
        return Profile(engine, cascade or NONE), digest

    def __str__(self) -> str:
        return self.engine if self.cascade == NONE else f"{self.engine}+{self.cascade}"


def slower(cascade: str) -> tuple[str, ...]:
    """Return the names of the cascades that may stand for one, the fastest first."""
    return {FAST: (FAST, SAFE), SAFE: (SAFE,), NONE: ()}[cascade]
